# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options that the packer modules share."""
from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  executable:
    description:
      - Path or name of the C(packer) binary, by default C(packer) on the search path of the host.
      - Every version from 1.5 on can be used. An option that the version found does not know is refused.
    type: path
  timeout:
    description:
      - Time after which Packer is stopped, such as V(90), V(90s), V(30m) or V(1h30m). By default it may take any time.
      - Packer is given two minutes to clean up; after that its whole process group is killed.
      - Prefer this option to the task keyword C(timeout), which fails the task at once, without waiting for the cleaning up.
    type: str
notes:
  - Packer and all it starts end with the module. When the module, the connection or the task is cut off, a supervisor lets Packer
    clean up and then ends its process group.
"""

    TEMPLATE = r"""
options:
  template:
    description:
      - Path of the template on the host, a file in HCL2 or JSON or a folder of HCL2 files.
      - A relative path starts at O(chdir), or without it at the folder that the module is started in.
    type: path
    required: true
  chdir:
    description: Folder to run Packer in, where the template's relative paths start. By default the template's own folder.
    type: path
  vars:
    description:
      - Values of the template's variables. They win over those of O(var_files).
      - They are handed over in a temporary file that only the calling user can read.
    type: dict
    default: {}
  var_files:
    description:
      - Files with values of variables, on the host. A relative path starts at the folder Packer runs in. Later ones win.
      - For an HCL2 template they are in HCL2, or in JSON with a name that ends in C(.json). For a JSON template they are in JSON.
    type: list
    elements: path
    default: []
  secrets:
    description:
      - Values of variables that nobody shall see. They are never arguments, and they are replaced wherever Packer shows them,
        encoded or not, in the output, in errors and in results.
      - With an HCL2 template they are handed over by Packer's environment, so there a value in O(var_files) wins. With a JSON
        template a temporary file that only the calling user can read is used.
      - Only what is given here is replaced. A default that the template itself gives to a sensitive variable is not known here,
        and Packer shows it when a provisioner does.
      - A value of one or two characters is not searched for in the output.
    type: dict
    default: {}
  only:
    description: Names of the builds to run. By default all.
    type: list
    elements: str
    default: []
  except:
    description: Names of builds and post-processors to leave out.
    type: list
    elements: str
    default: []
  env:
    description:
      - Variables to add to Packer's environment, such as C(AWS_PROFILE) or C(PACKER_PLUGIN_PATH).
      - Values whose name speaks of a key, token, secret, password or credential are replaced in all output, but not in Ansible's own
        display of the options. Prefer O(secrets) or the task keyword C(environment) for them.
    type: dict
    default: {}
"""
