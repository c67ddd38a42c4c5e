source "null" "x" {
  communicatr = "none"
}

build {
  sources = ["source.null.x"]
}
