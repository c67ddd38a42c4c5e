source "null" "x" {
  communicator = var.nothing
}

build {
  sources = ["source.null.y"]
}
