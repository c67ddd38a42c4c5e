variable "greeting" {
  type    = string
  default = "hello"
}

variable "names" {
  type    = list(string)
  default = []
}

variable "token" {
  type      = string
  sensitive = true
  default   = ""
}

source "file" "note" {
  content = "${var.greeting} ${join("+", var.names)}"
  target  = "note.txt"
}

source "null" "shell" {
  communicator = "none"
}

build {
  name    = "pair"
  sources = ["source.file.note", "source.null.shell"]

  provisioner "shell-local" {
    environment_vars = ["TOKEN=${var.token}"]
    inline           = ["echo plain $TOKEN", "printf %s $TOKEN | base64"]
  }

  post-processor "manifest" {
    output = "manifest.json"
  }
}
