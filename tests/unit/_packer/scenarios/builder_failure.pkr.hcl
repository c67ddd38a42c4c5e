source "file" "bad" {
  source = "nosuch.txt"
  target = "bad.txt"
}

source "file" "good" {
  content = "good"
  target  = "good.txt"
}

build {
  sources = ["source.file.bad", "source.file.good"]
}
