"""Where a token is kept between fetches: in memory, in a file, in Redis."""
