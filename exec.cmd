@rem npm's scripts begin with `exec`, by which a POSIX shell gives its place to the program, so that the program gets the
@rem signals sent to npm. cmd.exe has no such word and finds this file instead, which runs the program as it is.
@%*
