# METADATA
# title: Reverse shells
# description: |
#   A shell whose input and output are a network connection is somebody outside at the keyboard, and no workload does
#   that to serve its users. It is open at this moment, so the pod is cut off at once, and what it held counts as read.
#   Connections to the container itself are left out.
# related_resources:
#   - https://attack.mitre.org/techniques/T1059/004/
#   - https://github.com/falcosecurity/rules
# custom:
#   severity: critical
#   match:
#     events:
#       sources: [syscall]
#       priority: notice
#       rules: ["*everse?shell*", "Redirect STDOUT/STDIN to Network Connection*", "Netcat Remote Code Execution*"]
#       tags: [T1059, T1059.004, shell, process, mitre_execution]
#   remediation: >-
#     Close the hole through which the shell was opened, and replace the credentials that the pod held.
#   controls:
#     mitre: [T1059.004, T1071]
#   parameters:
#     type: object
#     properties:
#       shells:
#         description: Names of shells.
#         type: array
#         items: {type: string, minLength: 1}
#         default: [sh, bash, dash, ash, zsh, ksh, mksh, csh, tcsh, fish, busybox, pwsh]
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
#         default: [{action: snapshot}, {action: isolate}, {action: revoke}, {action: notify}]
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
package portcullis.runtime.reverse_shell

import data.portcullis.lib.events

respond contains ask if {
	count(signs) > 0
	not events.excepted(input.parameters.except)
	some ask in events.asks(input.parameters.actions, signs)
}

signs contains sprintf("%s reads from a network connection or writes to one as if it were a terminal", [events.process]) if {
	startswith(input.event.rule, "Redirect STDOUT/STDIN to Network Connection")
	not loopback
}

signs contains sprintf("%s has a network connection as its terminal", [events.process]) if {
	events.text("evt.type") in {"dup", "dup2", "dup3"}
	events.text("fd.type") in {"ipv4", "ipv6"}
	events.runs(input.parameters.shells)
	not loopback
}

signs contains sprintf("rule %q is about shells that somebody outside has", [input.event.rule]) if {
	regex.match(`(?i)reverse.?shell|^Netcat Remote Code Execution`, input.event.rule)
}

signs contains sprintf("%s was told to connect a shell to the network", [events.process]) if events.command(commands)

# Ways to open one that payload collections list.
commands := concat("|", [
	`/dev/(tcp|udp)/[^ /]+/[0-9]`,
	`\b(nc|ncat|netcat)\b.* (-[a-z]*[ec]|--exec|--sh-exec|--lua-exec)\b`,
	`\bsocat\b.*\b(exec|system):`,
	`(?i)\b(python|perl|ruby|php|lua|node)[0-9.]*\b.*socket.*(dup2|pty\.spawn|/bin/(ba)?sh|exec|spawn)`,
	`\bmkfifo\b.*\b(nc|ncat|netcat|openssl|telnet)\b`,
	`\bopenssl s_client\b.*\| */bin/`,
])

loopback if events.in_networks(["127.0.0.0/8", "::1/128"])
