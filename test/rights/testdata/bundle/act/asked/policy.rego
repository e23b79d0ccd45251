# METADATA
# title: What was asked for
# description: A rule of these tests says after its colon what is to be done.
# custom:
#   severity: high
#   match: {events: {sources: [syscall], rules: ["Do: *"]}}
#   remediation: Do nothing.
package portcullis.act.asked

respond contains {"action": action, "msg": "it was asked for", "parameters": object.get(parameters, action, {})} if {
	some action in split(trim_prefix(input.event.rule, "Do: "), " ")
}

parameters := {"isolate": {"residual": "restrict"}, "condemn": {"effect": "warn"}}
