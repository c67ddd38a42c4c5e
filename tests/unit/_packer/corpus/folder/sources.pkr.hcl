source "file" "list" {
  content = local.list
  target  = "${local.name}.list"
}

source "null" "check" {
  communicator = "none"
}
