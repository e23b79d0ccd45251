# METADATA
# title: Contact with the metadata service of the cloud
# description: |
#   Whoever reaches the metadata service of a virtual machine from a pod is given the credentials of the node: on many clusters they
#   read every image, every disk and the secrets of other pods (T1552.005). The service is known by its address, whichever rule has seen the
#   connection, and by its address on a command line, in the spellings that get round filters.
# related_resources:
#   - https://attack.mitre.org/techniques/T1552/005/
#   - https://kubernetes.io/docs/concepts/security/security-checklist/
#   - https://github.com/falcosecurity/rules
# custom:
#   severity: high
#   match:
#     events:
#       sources: [syscall]
#       priority: notice
#       rules: ["Contact cloud metadata service*", "Contact EC2 Instance Metadata Service*"]
#       tags: [T1552.005, network, process, mitre_execution, aws]
#   remediation: >-
#     Keep pods from the metadata service by a network policy (network/ip-block-metadata), and give workloads identities of their own.
#   controls:
#     mitre: [T1552.005, T1580]
#   parameters:
#     type: object
#     properties:
#       addresses:
#         description: Networks (CIDR) of metadata services.
#         type: array
#         items: {type: string, minLength: 1}
#         default: [169.254.169.254/32, 169.254.170.2/32, "fd00:ec2::254/128", "fd20:ce::254/128", 100.100.100.200/32, 192.0.0.192/32, 168.63.129.16/32]
#       domains:
#         description: Their domains.
#         type: array
#         items: {type: string, minLength: 1}
#         default: [metadata.google.internal, instance-data.ec2.internal]
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
#         default: {level: notice, count: 3, actions: [{action: isolate}]}
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
package portcullis.runtime.cloud_metadata_contact

import data.portcullis.lib.events

respond contains ask if {
	count(signs) > 0
	not events.excepted(input.parameters.except)
	some ask in events.asks(input.parameters.actions, signs) | events.escalated(input.parameters.escalation, signs)
}

signs contains sprintf("%s asks for the credentials of the node at %s", [events.process, events.destination]) if events.in_networks(input.parameters.addresses)

signs contains sprintf("%s asks for the credentials of the node by the name of the metadata service", [events.process]) if events.in_domains(input.parameters.domains)

signs contains sprintf("rule %q is about the metadata service", [input.event.rule]) if "T1552.005" in input.event.tags

signs contains sprintf("rule %q is about the metadata service", [input.event.rule]) if {
	regex.match(`(?i)(cloud|instance) metadata service`, input.event.rule)
}

# The address in decimal, hexadecimal, octal and as IPv6, too.
signs contains sprintf("%s was told the address of the metadata service", [events.process]) if {
	events.command(`(?i)\b169\.254\.169\.254\b|\b2852039166\b|\b0xa9fea9fe\b|\b0xa9\.0xfe\.0xa9\.0xfe\b|\b0?0?251\.0?0?376\.0?0?251\.0?0?376\b|::ffff:a9fe:a9fe|\bfd00:ec2::254\b|\bmetadata\.google\.internal\b|/computeMetadata/|/latest/meta-data`)
}
