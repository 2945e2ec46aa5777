"""The open workloads, one family a file: every file offers `WORKLOADS`, a dict of name -> function that makes it."""
