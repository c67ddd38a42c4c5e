source "file" "bad" {
  source = "missing.txt"
  target = "bad.txt"
}

source "file" "good" {
  content = "good"
  target  = "good.txt"
}

build {
  sources = ["source.file.bad", "source.file.good"]
}
