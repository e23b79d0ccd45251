# METADATA
# title: Misuse of service account tokens
# description: |
#   The token of a pod is for its program, which reads it by itself. A shell or a copying tool that reads it is somebody who wants to use it, and a token whose requests
#   are refused is tried out. With the Kubernetes audit log as a source of Falco, refusals count for the pod only if the user of the request is the
#   pod's own service account; exec by a service account is told about the pod that was entered.
# related_resources:
#   - https://attack.mitre.org/techniques/T1528/
#   - https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/
# custom:
#   severity: high
#   match:
#     events:
#       sources: [syscall, k8s_audit]
#       priority: notice
#       rules: ["*ervice?account?token*", "*ervice Account Token*", "The docker client is executed in a container*", "Kubernetes Client Tool Launched in Container*", "Contact K8S API Server From Container*", "K8s * Unsuccessfully Tried*", "Attach/Exec Pod*", "EphemeralContainers Created*"]
#       tags: [T1528, T1552.007, filesystem, shell, process, k8s]
#   remediation: >-
#     Mount no token where none is needed (pods/token-automount), give its account the fewest rights, and delete the pod to end its token.
#   controls:
#     mitre: [T1528, T1552.007, T1078.001]
#   parameters:
#     type: object
#     properties:
#       readers:
#         description: Names of programs that no workload uses to read its token.
#         type: array
#         items: {type: string, minLength: 1}
#         default: [sh, bash, dash, ash, zsh, ksh, busybox, cat, tac, head, tail, less, more, cp, dd, tar, base64, xxd, od, strings, grep, curl, wget, nc, ncat, socat, kubectl, jq, cut, sed, awk, find]
#       files:
#         description: Where tokens of pods are, as globs in which * is any run of characters.
#         type: array
#         items: {type: string, minLength: 1}
#         default: ["*/run/secrets/kubernetes.io/serviceaccount/*token", "*/run/secrets/eks.amazonaws.com/serviceaccount/*token", "*/run/secrets/azure/tokens/*", "*/run/secrets/tokens/*", "*/volumes/kubernetes.io~projected/*/token"]
#       clients:
#         description: Names of clients of the API server.
#         type: array
#         items: {type: string, minLength: 1}
#         default: [kubectl, oc, helm, k9s, peirates, kubeletctl, crictl]
#       accounts:
#         description: Service accounts, as globs of namespace/name, that may be refused and may enter pods.
#         type: array
#         items: {type: string, minLength: 1}
#         default: [kube-system/*]
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
#         default: {level: notice, count: 5, actions: [{action: isolate}, {action: revoke}]}
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
package portcullis.runtime.service_account_token_misuse

import data.portcullis.lib.events

respond contains ask if {
	count(signs) > 0
	not events.excepted(input.parameters.except)
	some ask in events.asks(input.parameters.actions, signs) | events.escalated(input.parameters.escalation, signs)
}

signs contains sprintf("%s reads the token of the pod", [events.process]) if {
	events.touches(input.parameters.files)
	events.runs(input.parameters.readers)
}

signs contains sprintf("%s was told where the token of the pod is", [events.process]) if {
	events.command(`/run/secrets/(kubernetes\.io/serviceaccount|eks\.amazonaws\.com/serviceaccount|azure/tokens|tokens)`)
	events.runs(input.parameters.readers)
}

signs contains sprintf("rule %q is about tokens", [input.event.rule]) if {
	some tag in input.event.tags
	tag in {"T1528", "T1552.007"}
}

signs contains sprintf("rule %q is about tokens", [input.event.rule]) if regex.match(`(?i)service ?account token`, input.event.rule)

signs contains sprintf("%s is a client of the API server", [events.process]) if {
	input.event.source == "syscall"
	events.runs(input.parameters.clients)
}

signs contains sprintf("%s asks the API server", [events.process]) if {
	startswith(input.event.rule, "Contact K8S API Server From Container")
	events.runs(input.parameters.readers)
}

signs contains sprintf("requests of the pod's service account %s are refused", [actor]) if {
	actor == account
	not actor_may
	code in {"401", "403"}
}

signs contains sprintf("the service account %s came into the pod", [actor]) if {
	regex.match(`^(Attach/Exec Pod|EphemeralContainers Created)`, input.event.rule)
	actor != ""
	not actor_may
}

# actor is the service account that a request in the audit log was of, "" for other users.
actor := found if {
	some found in [concat("/", [match[1], match[2]]) |
		input.event.source == "k8s_audit"
		some match in regex.find_all_string_submatch_n(`^system:serviceaccount:([^:]+):([^:]+)$`, events.text("ka.user.name"), 1)
	]
} else := ""

# account is that of the pod.
account := concat("/", [input.event.pod.namespace, input.event.pod.serviceAccount])

# The code is a number, or text where it came by gRPC.
code := sprintf("%v", [input.event.fields["ka.response.code"]])

actor_may if {
	some pattern in input.parameters.accounts
	glob.match(pattern, null, actor)
}
