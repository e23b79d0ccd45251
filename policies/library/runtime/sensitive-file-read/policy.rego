# METADATA
# title: Reading of sensitive files
# description: |
#   Password hashes, private keys and credentials of clouds are what somebody in a container looks for first. One such read may
#   be a program that does so; several are a search, and the pod is cut off before it is used.
# related_resources:
#   - https://attack.mitre.org/techniques/T1552/001/
#   - https://github.com/falcosecurity/rules
# custom:
#   severity: high
#   match:
#     events:
#       sources: [syscall]
#       priority: notice
#       rules: ["*sensitive file*", "*Sensitive Files*", "Directory traversal monitored file read*", "Search Private Keys or Passwords*", "Find AWS Credentials*", "Read ssh information*", "Read environment variable from /proc files*"]
#       tags: [mitre_credential_access, filesystem, T1555, T1552, T1552.001, T1003, T1003.008]
#   remediation: >-
#     Find out why the program reads the file; keep credentials out of its image and its file system.
#   controls:
#     mitre: [T1552.001, T1555, T1003.008]
#   parameters:
#     type: object
#     properties:
#       files:
#         description: Paths of sensitive files, as globs in which * is any run of characters.
#         type: array
#         items: {type: string, minLength: 1}
#         default: [/etc/shadow*, /etc/gshadow*, /etc/sudoers*, "*/.ssh/id_*", "*/.ssh/authorized_keys", "*/.aws/credentials", "*/.config/gcloud/*", "*/.azure/*", "*/.docker/config.json", "*/.kube/config", "*/.git-credentials", "*/.netrc", "*/.pgpass", "/proc/*/environ", "/etc/kubernetes/*", "/var/lib/kubelet/*", "*/etc/shadow"]
#       rules:
#         description: >-
#           How the names of rules of Falco begin that are signs whatever file they name. The policy sees rules with one of these names, or with a tag that says
#           filesystem or credentials.
#         type: array
#         items: {type: string, minLength: 1}
#         default: ["Read sensitive file", "Create Symlink Over Sensitive Files", "Create Hardlink Over Sensitive Files", "Directory traversal monitored file read", "Search Private Keys or Passwords", "Find AWS Credentials", "Read ssh information", "Read environment variable from /proc files"]
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
#         default: [{action: snapshot}, {action: annotate}, {action: notify}]
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
#         default: {level: warning, count: 5, actions: [{action: isolate}]}
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
package portcullis.runtime.sensitive_file_read

import data.portcullis.lib.events
import data.portcullis.lib.wording

respond contains ask if {
	count(signs) > 0
	not events.excepted(input.parameters.except)
	some ask in events.asks(input.parameters.actions, signs) | events.escalated(input.parameters.escalation, signs)
}

signs contains sprintf("%s has to do with %s", [events.process, wording.short(events.file)]) if events.touches(input.parameters.files)

signs contains sprintf("%s set off the rule %q", [events.process, input.event.rule]) if {
	strings.any_prefix_match(input.event.rule, input.parameters.rules)
}
