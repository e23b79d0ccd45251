# METADATA
# title: Attempts to escape from the container
# description: |
#   Whoever leaves the container has the node, with the credentials of all pods on it. Cutting off the pod does not help any more once
#   that has worked, so the node takes no further pods until somebody has looked at it. Rules tagged with MITRE's T1611 say so, and so do the files
#   through which the kernel is made to run a program outside, the sockets of the container runtime, and the tools for other namespaces.
# related_resources:
#   - https://attack.mitre.org/techniques/T1611/
#   - https://nvd.nist.gov/vuln/detail/CVE-2022-0492
#   - https://nvd.nist.gov/vuln/detail/CVE-2019-5736
#   - https://github.com/falcosecurity/rules
# custom:
#   severity: critical
#   match:
#     events:
#       sources: [syscall]
#       priority: notice
#       rules: ["*release_agent*", "Debugfs Launched*", "Mount Launched in Privileged Container*", "Change thread namespace*", "Change namespace privileges via unshare*", "Linux Kernel Module Injection*", "Modify Container Entrypoint*"]
#       tags: [T1611, mitre_privilege_escalation, filesystem, process]
#   remediation: >-
#     Take the privileges from the pod that the attempt needs (pods/privileged, pods/host-path-volumes, pods/capabilities-baseline), and rebuild the node if it has worked.
#   controls:
#     mitre: [T1611, T1547.006]
#   parameters:
#     type: object
#     properties:
#       files:
#         description: Files and sockets by which one leaves a container, as globs in which * is any run of characters.
#         type: array
#         items: {type: string, minLength: 1}
#         default: ["*/release_agent", /proc/sys/kernel/core_pattern, "*/proc/sys/kernel/core_pattern", "/sys/kernel/uevent_helper", "*/docker.sock", "*/containerd.sock", "*/crio.sock", "/proc/sysrq-trigger", "/proc/1/root/*", "/proc/self/exe"]
#       programs:
#         description: Names of programs that work on other namespaces or on the runtime.
#         type: array
#         items: {type: string, minLength: 1}
#         default: [nsenter, debugfs, insmod, modprobe, kmod, ctr, crictl, runc]
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
#         default: [{action: snapshot}, {action: isolate}, {action: cordon}, {action: notify}]
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
package portcullis.runtime.container_escape

import data.portcullis.lib.events
import data.portcullis.lib.wording

respond contains ask if {
	count(signs) > 0
	not events.excepted(input.parameters.except)
	some ask in events.asks(input.parameters.actions, signs)
}

signs contains sprintf("rule %q is about leaving the container", [input.event.rule]) if "T1611" in input.event.tags

signs contains sprintf("rule %q is about leaving the container", [input.event.rule]) if {
	regex.match(`release_agent|^(Debugfs Launched|Mount Launched in Privileged Container|Change thread namespace|Change namespace privileges via unshare|Linux Kernel Module Injection|Modify Container Entrypoint)`, input.event.rule)
}

signs contains sprintf("%s has to do with %s", [events.process, wording.short(events.file)]) if events.touches(input.parameters.files)

signs contains sprintf("%s works on other namespaces or on the container runtime", [events.process]) if {
	events.text("evt.type") in {"execve", "execveat"}
	events.runs(input.parameters.programs)
}
