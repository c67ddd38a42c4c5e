release = "12"
mirrors = ["one", "two"]
