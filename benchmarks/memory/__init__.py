"""Does the whole process stay within its memory, whatever callers, upstream and the admin port's guests do?"""
