source "file" "first" {
  content = "first"
  target  = "first.txt"
}

source "file" "second" {
  content = "second"
  target  = "second.txt"
}

build {
  name    = "one"
  sources = ["source.file.first"]
  post-processor "manifest" {
    output = "packer-manifest.json"
  }
}

build {
  name    = "two"
  sources = ["source.file.second"]
  post-processor "manifest" {
    output = "packer-manifest.json"
  }
}
