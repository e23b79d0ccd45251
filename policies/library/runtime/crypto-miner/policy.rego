# METADATA
# title: Crypto miners
# description: |
#   A miner is what most break-ins into clusters end in: somebody runs programs of their own in the container, and stays
#   until somebody looks at the bill. Rules of Falco tagged with MITRE's T1496 say so, and so do the Stratum protocol on a command line, a
#   known miner's name and a known pool's, whatever rule has seen them.
# related_resources:
#   - https://attack.mitre.org/techniques/T1496/
#   - https://github.com/falcosecurity/rules
# custom:
#   severity: critical
#   match:
#     events:
#       sources: [syscall]
#       priority: notice
#       rules: ["*miner*", "*Miner*", "*mining*", "*Stratum*"]
#       tags: [T1496, process, mitre_execution, mitre_persistence, network]
#   remediation: >-
#     Find out how the miner came into the container, and replace image and credentials.
#   controls:
#     mitre: [T1496]
#   parameters:
#     type: object
#     properties:
#       programs:
#         description: Names of miners.
#         type: array
#         items: {type: string, minLength: 1}
#         default: [xmrig, xmrigDaemon, xmr-stak, minerd, cpuminer, cpuminer-multi, ccminer, cgminer, bfgminer, ethminer, nbminer, nanominer, lolMiner, gminer, srbminer, SRBMiner-MULTI, teamredminer, t-rex, phoenixminer, PhoenixMiner, kdevtmpfsi, kinsing]
#       pools:
#         description: Domains of pools.
#         type: array
#         items: {type: string, minLength: 1}
#         default: [minexmr.com, nanopool.org, moneroocean.stream, hashvault.pro, supportxmr.com, xmrpool.net, moneropool.com, crypto-pool.fr, minergate.com, 2miners.com, f2pool.com, antpool.com, herominers.com, unmineable.com, nicehash.com, slushpool.com, c3pool.com]
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
#         default: [{action: snapshot}, {action: isolate}, {action: condemn, parameters: {scope: digest}}, {action: notify}]
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
package portcullis.runtime.crypto_miner

import data.portcullis.lib.events

respond contains ask if {
	count(signs) > 0
	not events.excepted(input.parameters.except)
	some ask in events.asks(input.parameters.actions, signs)
}

signs contains sprintf("rule %q is about mining", [input.event.rule]) if "T1496" in input.event.tags

signs contains sprintf("rule %q is about mining", [input.event.rule]) if regex.match(`(?i)crypto ?min|\bminer|\bmining\b|stratum`, input.event.rule)

signs contains sprintf("%s speaks Stratum, the protocol of mining pools", [events.process]) if events.command(`(?i)stratum[0-9]*\+(tcp|ssl|tls|udp)`)

signs contains sprintf("%s is called like a miner", [events.process]) if events.runs(input.parameters.programs)

signs contains sprintf("%s connects to a mining pool", [events.process]) if events.in_domains(input.parameters.pools)
