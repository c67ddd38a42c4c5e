# Names of builds that differ from those of their sources.
source "null" "a" {
  communicator = "none"
}

source "null" "other" {
  communicator = "none"
}

build {
  name        = "web"
  description = "Two lines\n  > mail:\n    sources:\n      null.z"
  sources     = ["source.null.other"]

  source "null.a" {
    name = "small"
  }

  source "source.null.a" {
    name = "two words"
  }

  source "null.a" {
  }

  # source "null.a" { name = "comment" }
  provisioner "shell-local" {
    name   = "greet"
    inline = ["echo 'build { source \"null.a\" { name = 1 } }'"]
  }
}

build {
  source "null.a" {
    name = "unnamed"
  }
}

build {
  name    = "x[1]*{a,b}\\?"
  sources = ["null.other"]
}
