# METADATA
# title: Package managers at run time
# description: |
#   Programs come into an image when it is built, where they are scanned and signed. A package manager in a running container
#   brings in what nobody has looked at: the tools of somebody who is just beginning.
# related_resources:
#   - https://attack.mitre.org/techniques/T1105/
#   - https://github.com/falcosecurity/rules
# custom:
#   severity: medium
#   match:
#     events:
#       sources: [syscall]
#       priority: notice
#       rules: ["Launch Package Management Process*", "Update Package Repository*"]
#       tags: [software_mgmt, process, mitre_execution, mitre_persistence]
#   remediation: >-
#     Install what the program needs when its image is built.
#   controls:
#     mitre: [T1105, T1072]
#   parameters:
#     type: object
#     properties:
#       programs:
#         description: Names of package managers.
#         type: array
#         items: {type: string, minLength: 1}
#         default: [apk, apt, apt-get, aptitude, dpkg, yum, dnf, microdnf, tdnf, rpm, zypper, pacman, snap, pip, pipx, gem, conda, npm]
#       actions:
#         description: What is asked for, each action with its parameters.
#         type: array
#         minItems: 1
#         items: &action
#           type: object
#           required: [action]
#           additionalProperties: false
#           properties:
#             action: {enum: [snapshot, annotate, label, isolate, detach, condemn, revoke, notify, cordon, suspend, scale, evict, delete]}
#             parameters: {type: object}
#         default: [{action: annotate}, {action: notify}]
#       escalation:
#         description: >-
#           What is asked for besides once the pod has had as many events of the level, or a graver one, within the window of the bundle's
#           response section; count 0 is never.
#         type: object
#         required: [level, count, actions]
#         additionalProperties: false
#         properties:
#           level: {enum: [emergency, alert, critical, error, warning, notice, informational, debug]}
#           count: {type: integer, minimum: 0}
#           actions: {type: array, items: *action}
#         default: {level: warning, count: 3, actions: [{action: snapshot}, {action: isolate}]}
#       except:
#         description: >-
#           Whom it is not about: namespaces as globs; images as patterns of their repositories by segment (docker.io/library/*);
#           processes as globs of the path of the executable or, without a slash, of the name that a process gives itself.
#         type: object
#         additionalProperties: false
#         properties:
#           namespaces: &globs {type: array, items: {type: string, minLength: 1}}
#           images: *globs
#           processes: *globs
#         default: {}
package portcullis.runtime.package_manager

import data.portcullis.lib.events

respond contains ask if {
	count(signs) > 0
	not events.excepted(input.parameters.except)
	some ask in events.asks(input.parameters.actions, signs) | events.escalated(input.parameters.escalation, signs)
}

signs contains sprintf("%s manages packages", [events.process]) if "software_mgmt" in input.event.tags

signs contains sprintf("%s manages packages", [events.process]) if {
	regex.match(`^(Launch Package Management Process|Update Package Repository)`, input.event.rule)
}

signs contains sprintf("%s manages packages", [events.process]) if {
	events.text("evt.type") in {"execve", "execveat"}
	events.runs(input.parameters.programs)
}
