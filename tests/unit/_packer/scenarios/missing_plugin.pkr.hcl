source "nowhere" "x" {
}

build {
  sources = ["source.nowhere.x"]
}
