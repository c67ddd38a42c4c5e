source "null" "a" {
  communicator = "none"
}

build {
  name        = "web"
  description = "One source, two builds"

  source "null.a" {
    name = "small"
  }

  source "null.a" {
    name = "large"
  }
}
