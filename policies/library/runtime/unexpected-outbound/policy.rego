# METADATA
# title: Unexpected connections to the outside
# description: |
#   A workload talks to a few others; a connection to anywhere else takes data out or orders in. Rules of Falco say which are not expected;
#   destinations in the allowed networks and domains are left out, of a rule about known servers of attackers none is. What the destination
#   is not known of counts as outside.
# related_resources:
#   - https://attack.mitre.org/tactics/TA0011/
#   - https://attack.mitre.org/tactics/TA0010/
#   - https://github.com/falcosecurity/rules
# custom:
#   severity: medium
#   match:
#     events:
#       sources: [syscall]
#       priority: notice
#       rules: ["Unexpected outbound connection destination*", "Outbound Connection to C2 Servers*", "Network Connection outside Local Subnet*", "Unexpected UDP Traffic*", "Disallowed SSH Connection*", "Outbound or Inbound Traffic not to Authorized Server Process and Port*", "Interpreted procs outbound network activity*", "Unexpected K8s NodePort Connection*"]
#       tags: [mitre_command_and_control, mitre_exfiltration, TA0011, TA0010, T1071, T1571, T1041]
#   remediation: >-
#     Add the destination to the allowed ones if the workload needs it; otherwise deny it by a network policy (network/allow-all-egress).
#   controls:
#     mitre: [TA0011, T1071, T1041]
#   parameters:
#     type: object
#     properties:
#       networks:
#         description: Networks (CIDR) that may be connected to; private ones by default, which are the cluster's own.
#         type: array
#         items: {type: string, minLength: 1}
#         default: [10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10, 127.0.0.0/8, "fc00::/7", "::1/128"]
#       domains:
#         description: Domains that may be connected to. Falco has to say fd.sip.name.
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
#         default: {level: notice, count: 10, actions: [{action: isolate}]}
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
package portcullis.runtime.unexpected_outbound

import data.portcullis.lib.events

respond contains ask if {
	count(signs) > 0
	not events.excepted(input.parameters.except)
	some ask in events.asks(input.parameters.actions, signs) | events.escalated(input.parameters.escalation, signs)
}

signs contains sprintf("%s connects to %s, which it is not expected to", [events.process, events.whereto]) if {
	not attackers
	not expected
}

signs contains sprintf("%s connects to %s, a known server of attackers", [events.process, events.whereto]) if attackers

attackers if startswith(input.event.rule, "Outbound Connection to C2 Servers")

expected if events.in_networks(input.parameters.networks)

expected if events.in_domains(input.parameters.domains)
