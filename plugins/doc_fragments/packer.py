# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options that the Packer modules share."""

from __future__ import annotations


class ModuleDocFragment:
    # For every Packer module.
    DOCUMENTATION = r"""
requirements:
  - Packer >= 1.5
options:
  executable:
    description:
      - Path or name of the C(packer) binary. By default, the module searches for C(packer) in E(PATH) on the host.
      - Packer 1.5 and later versions are supported. The task fails if the installed version does not support an
        option that you set.
    type: path
  timeout:
    description:
      - Time after which Packer is stopped, such as V(90), V(90s), V(30m) or V(1h30m). By default, there is no limit.
      - Packer then has two minutes to clean up. After that, its whole process group is killed.
      - Prefer this option to the task keyword C(timeout), which fails the task immediately and does not wait for the
        cleanup.
    type: str
notes:
  - Packer and every process that it starts end with the module. If the module, the connection or the task is
    interrupted, a supervisor lets Packer clean up and then ends its process group.
  - Packer gets the environment of the module, such as E(PACKER_CONFIG), E(PACKER_PLUGIN_PATH) and the settings of a cloud.
    Its debug log is never part of a result. If E(PACKER_LOG_PATH) is set, builds and validations write it to that file;
    otherwise, E(PACKER_LOG) has no effect. Checks for newer versions and colors are always off.
"""

    # For modules that can take a template.
    OPTIONAL_TEMPLATE = r"""
options:
  template:
    description: Path of a template on the host. It is an HCL2 or JSON file, or a folder of HCL2 files.
    type: path
"""

    # For modules that run a template.
    TEMPLATE = r"""
options:
  template:
    description:
      - Path of the template on the host. It is an HCL2 or JSON file, or a folder of HCL2 files.
      - A relative path is relative to O(chdir). Without O(chdir), it is relative to the module's working directory.
    type: path
    required: true
  chdir:
    description:
      - Folder to run Packer in. Relative paths in the template are relative to it.
      - By default, Packer runs in the template's own folder.
    type: path
  vars:
    description:
      - Values of the template's variables. They override those in O(var_files), which override variables of the
        environment such as C(PKR_VAR_region).
      - The module passes them in a temporary file that only the calling user can read.
      - A value arrives as it is given, or it is refused before Packer starts. Text with C({{) is refused, because
        Packer evaluates it as a template. So is text with NUL, text that is not valid Unicode, and, for an HCL2
        template, text that is not in Unicode's form NFC.
      - A JSON template takes only strings, numbers, booleans and lists of them. It gets a list as one text with commas
        between the items.
    type: dict
    default: {}
  var_files:
    description:
      - Variable files on the host. A relative path is relative to the folder that Packer runs in. Later files override
        earlier ones.
      - For an HCL2 template, the files contain HCL2, or JSON if their name ends in C(.json). For a JSON template, they
        contain JSON.
    type: list
    elements: path
    default: []
  secrets:
    description:
      - Secret values of the template's variables. They are never passed as arguments. The module masks them in
        Packer's output, in errors and in logs, also where a tool escapes, quotes or encodes them.
      - The rules for values of O(vars) apply. A secret has at most about 131,000 bytes.
      - Data of a result is not masked, such as the paths of artifacts, even if a secret equals a word of it.
      - For an HCL2 template, they are passed in Packer's environment, so a value in O(var_files) overrides them. For a
        JSON template, they are passed in a temporary file that only the calling user can read.
      - Only the values of this option are masked. The module does not know the default that a template gives to a
        sensitive variable. Packer shows such a default if a provisioner prints it.
      - Values of one or two characters are not masked. Of a secret with several lines, lines of six or more characters
        are masked each.
    type: dict
    default: {}
  only:
    description: Names of the builds to run. By default, all builds run.
    type: list
    elements: str
    default: []
  except:
    description: Names of builds and post-processors to skip.
    type: list
    elements: str
    default: []
  env:
    description:
      - Variables to add to Packer's environment, such as E(AWS_PROFILE) or E(PACKER_PLUGIN_PATH).
      - If a variable's name suggests a key, token, secret, password or credential, its value is masked in all output.
        Prefer O(secrets) or the task keyword C(environment) for such values.
    type: dict
    default: {}
"""
