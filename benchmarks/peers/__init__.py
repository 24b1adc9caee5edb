"""The programs that are compared, each as its users run it, all doing the same job."""
