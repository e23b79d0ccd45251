# METADATA
# title: Terminals in containers
# description: |
#   A shell with a terminal is a person in a container, by exec or through a hole. Often it is one who may, so it is written
#   on the pod and told; followed by something graver, the pod is cut off.
# related_resources:
#   - https://attack.mitre.org/techniques/T1609/
#   - https://github.com/falcosecurity/rules
# custom:
#   severity: medium
#   match:
#     events:
#       sources: [syscall, k8s_audit]
#       priority: notice
#       rules: ["Terminal shell in container*", "Attach/Exec Pod*", "EphemeralContainers Created*"]
#       tags: [shell, T1609]
#   remediation: >-
#     Ask whose terminal it was, and deny exec to those who do not need it (pods/exec).
#   controls:
#     mitre: [T1059, T1609]
#   parameters:
#     type: object
#     properties:
#       users:
#         description: Users whose exec and attach in the audit log are no news, as globs.
#         type: array
#         items: {type: string, minLength: 1}
#         default: []
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
#         default: {level: warning, count: 1, actions: [{action: snapshot}, {action: isolate}]}
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
package portcullis.runtime.terminal_in_container

import data.portcullis.lib.events

respond contains ask if {
	count(signs) > 0
	not events.excepted(input.parameters.except)
	some ask in events.asks(input.parameters.actions, signs) | events.escalated(input.parameters.escalation, signs)
}

signs contains sprintf("%s has a terminal", [events.process]) if startswith(input.event.rule, "Terminal shell in container")

signs contains sprintf("%s has a terminal", [events.process]) if {
	"shell" in input.event.tags
	has_terminal
}

signs contains sprintf("%q came into the pod", [events.text("ka.user.name")]) if {
	input.event.source == "k8s_audit"
	regex.match(`^(Attach/Exec Pod|EphemeralContainers Created)`, input.event.rule)
	not expected
}

# proc.tty is the number of the terminal, 0 for none.
has_terminal if input.event.fields["proc.tty"] > 0

expected if {
	some pattern in input.parameters.users
	glob.match(pattern, null, events.text("ka.user.name"))
}
