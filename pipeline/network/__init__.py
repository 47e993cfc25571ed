"""Network: which URLs of strangers may be asked for, and which addresses they may lead to."""
