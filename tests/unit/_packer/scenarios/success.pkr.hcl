source "file" "note" {
  content = "one, two"
  target  = "out/note.txt"
}

source "null" "shell" {
  communicator = "none"
}

build {
  name    = "pair"
  sources = ["source.file.note", "source.null.shell"]

  provisioner "shell-local" {
    inline = ["echo one, two"]
  }
}
