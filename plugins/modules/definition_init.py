#!/usr/bin/python
# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: definition_init
short_description: Write a first definition with its playbooks
version_added: 0.3.0
author: immutable.infra contributors (@immutable-infra)
description:
  - Writes C(immutable.yml), C(provision.yml) and C(verify.yml) into a folder, from a few options. You can then edit
    these files.
  - The definition is loaded with all its checks before anything is written. M(immutable.infra.definition_info)
    therefore accepts it, and a bake can start from it.
  - Never overwrites a file. If a file with other content exists, nothing is written, and the task fails with the name
    of the file. Files that already have the same content do not change, so a second run changes nothing.
  - Text from templates, AWS and options is treated as data. It is quoted in the definition, shortened to one line in
    comments, and refused where Ansible would evaluate it as a template.
extends_documentation_fragment:
  - immutable.infra.attributes
  - immutable.infra.attributes.action
  - immutable.infra.attributes.changes
requirements:
  - jsonschema >= 4.10
  - Packer >= 1.5 (for the variables of an HCL2 template)
  - boto3 >= 1.36 (for groups on AWS)
options:
  folder:
    description:
      - Folder that gets the files. A missing folder is created.
      - A relative path is relative to the playbook's folder.
    type: path
    required: true
  service:
    description: Name of the service.
    type: str
  version:
    description: Version of the service, as text.
    type: str
    default: 1.0.0
  providers:
    description:
      - Providers that the service runs on. Each gets a target. The first target is named C(local). The others have the
        name of their provider, except V(simulated), whose target is named C(rehearsal).
      - By default, V(container).
    type: list
    elements: str
    choices: [container, qemu, simulated]
  base:
    description: Debian release that the image is built on.
    type: str
    choices: [bookworm, trixie]
    default: bookworm
  size:
    description: Number of instances.
    type: int
    default: 1
  packages:
    description: Packages that the image contains.
    type: list
    elements: str
    default: []
  command:
    description:
      - Command line that runs the service. It is split into words as a shell would, but no shell runs it.
      - If all targets run containers, it becomes C(image.command). Otherwise, it becomes a systemd unit.
      - By default, systemd starts the services that the packages and your own tasks enable.
    type: str
  user:
    description:
      - User that runs O(command) and owns the folders in O(data). It is created if missing.
      - By default, root.
    type: str
  port:
    description: Port on which the service answers. Required, unless the template or the group provides it.
    type: int
  health_path:
    description: Path of the HTTP request that a healthy service answers with status 200. By default, V(/).
    type: str
  expect:
    description:
      - Bytes as text that the service sends over a TCP connection, such as V(SSH-2.0). For a service that does not
        speak HTTP.
    type: str
  send:
    description: Bytes as text that the probe sends before it waits for O(expect), such as V(PING\\r\\n).
    type: str
  data:
    description: Paths of the service's data. Each gets a volume that outlives every instance.
    type: list
    elements: str
    default: []
  data_size:
    description: Size of each volume.
    type: str
    default: 1G
  writable:
    description: Other paths that the service writes to and whose contents may be lost with the instance.
    type: list
    elements: str
    default: []
  template:
    description:
      - A Packer template, HCL2 or JSON, or a folder with one. The definition takes over everything that it has a key
        for. Nothing in the template runs.
      - A builder C(qemu), C(docker) or C(amazon-ebs) becomes the target and its base. Provisioners that install Debian
        packages, copy files or run a playbook become tasks, if their files are in O(folder). RV(left) lists everything
        else.
      - Values that are expressions cannot be taken over, except variables, whose values C(packer inspect) reports.
    type: path
  build:
    description:
      - Name of the builder to take over, such as V(qemu.debian) or V(debian).
      - By default, the first builder of one of the three types.
    type: str
  executable:
    description: Path or name of the C(packer) binary. By default, the task searches for C(packer) in E(PATH).
    type: path
  auto_scaling_group:
    description:
      - Name of an Auto Scaling group on AWS. The definition gets a target C(prod) whose instances EC2 Auto Scaling
        replaces, with the group's AMI as its base, its subnets, its tags and the health check of its target group.
      - The task only reads from AWS. Mutually exclusive with O(target_group) and O(providers).
    type: str
  target_group:
    description:
      - Name or ARN of a target group on AWS. The definition gets a target C(prod) with the health check of the group
        and the settings that most of its registered instances share. The instances themselves are not taken over.
      - The task only reads from AWS. Mutually exclusive with O(auto_scaling_group) and O(providers).
    type: str
  region:
    description: AWS region of the group. By default, the region in the AWS configuration.
    type: str
  profile:
    description: Profile in the AWS configuration.
    type: str
  role:
    description: ARN of an AWS role to assume.
    type: str
  endpoint_url:
    description: Endpoint URL of the AWS services.
    type: str
seealso:
  - module: immutable.infra.definition_info
  - module: immutable.infra.image
"""

EXAMPLES = r"""
- name: Start a service in containers
  immutable.infra.definition_init:
    folder: /srv/files
    service: files
    command: /usr/bin/python3 -m http.server --directory /srv/www 8080
    port: 8080

- name: Start a web server that runs in containers and in virtual machines
  immutable.infra.definition_init:
    folder: /srv/web
    service: web
    packages: [nginx-light]
    port: 80
    writable: [/var/lib/nginx]
    providers: [container, qemu]
    size: 3

- name: Start a database with data
  immutable.infra.definition_init:
    folder: /srv/cache
    service: cache
    packages: [redis-server]
    port: 6379
    send: "PING\\r\\n"
    expect: "+PONG"
    data: [/var/lib/redis]
    user: redis

- name: Start from an Auto Scaling group
  immutable.infra.definition_init:
    folder: /srv/shop
    service: shop
    auto_scaling_group: shop-prod
    region: eu-central-1

- name: Start from a Packer template, in its folder
  immutable.infra.definition_init:
    folder: /srv/shop
    template: /srv/shop/shop.pkr.hcl
    port: 8080
  register: first

- name: Show what is still to be done
  ansible.builtin.debug:
    msg: "{{ first.left }}"
"""

RETURN = r"""
path:
  description: Path of the definition.
  returned: success
  type: str
  sample: /srv/shop/immutable.yml
files:
  description: All files of the definition, relative to O(folder).
  returned: success
  type: list
  elements: str
  sample: [immutable.yml, provision.yml, verify.yml]
written:
  description: The files that this task created, or would create in check mode.
  returned: success
  type: list
  elements: str
found:
  description: What was found in a template or a group, and where it is now.
  returned: success
  type: list
  elements: dict
  contains:
    what:
      description: What was found, without its value.
      type: str
    taken:
      description: Whether it was taken over.
      type: bool
    key:
      description: The key of the definition, or the playbook, that contains it now. Empty if it was not taken over.
      type: str
    note:
      description: Why it was not taken over and what to do about it, or what to check. Can be empty.
      type: str
left:
  description: What was not taken over, as sentences. The definition contains them as comments.
  returned: success
  type: list
  elements: str
to_check:
  description: What was taken over and should be checked, as sentences. The definition contains them as comments.
  returned: success
  type: list
  elements: str
next:
  description: The command that releases the service. Run it in O(folder).
  returned: success
  type: str
  sample: >-
    ansible-playbook immutable.infra.release -e immutable_definition=immutable.yml
    -e immutable_store=$HOME/.immutable -e immutable_channel=prod
in_the_way:
  description: Paths of existing files with other content.
  returned: when such files exist
  type: list
  elements: str
"""
