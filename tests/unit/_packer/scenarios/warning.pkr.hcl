source "file" "empty" {
  target = "empty.txt"
}

build {
  sources = ["source.file.empty"]
}
