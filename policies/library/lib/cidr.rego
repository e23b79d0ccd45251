# METADATA
# title: Address blocks
# description: |
#   CIDR blocks as the API server reads them, and which of them are too wide, alone or
#   together: 0.0.0.0/1 and 128.0.0.0/1 side by side are 0.0.0.0/0.
package portcullis.lib.cidr

# normal drops zeros in front of numbers: the API server has long read 010.0.0.0/8 as
# 10.0.0.0/8 (KEP-4858), which the built-ins of Rego do not read at all.
normal(block) := regex.replace(block, `\b0+([0-9])`, "$1")

# readable says that a block can be compared with others. IPv4 in IPv6 notation
# (::ffff:10.0.0.0/104) cannot: nobody agrees on what it means, and net.cidr_merge panics on it.
readable(block) if {
	net.cidr_is_valid(normal(block))
	not mapped(normal(block))
}

mapped(block) if {
	contains(block, ":")
	net.cidr_contains("::ffff:0:0/96", block)
}

family(block) := "IPv6" if contains(block, ":")

else := "IPv4"

# too_wide maps each block that is wider than the limit of its family, or that makes such
# a block together with others, to that whole. Limits are the shortest prefix lengths that
# are allowed: {"IPv4": 8, "IPv6": 7}.
too_wide(blocks, limits) := {block: whole |
	some kind, shortest in limits
	members := {block: normal(block) | some block in blocks; readable(block); family(block) == kind}
	some whole in net.cidr_merge({member | some member in members})
	to_number(split(whole, "/")[1]) < shortest
	some block, member in members
	net.cidr_contains(whole, member)
}

# extent names a block and what it is part of, for messages.
extent(block, whole) := block if block == whole

else := sprintf("%s, which is or adds up to %s", [block, whole])

# holds says that an address or a whole block lies in one of the blocks. What is neither
# lies in none; the blocks have to be valid, since a mistake in a parameter must not pass
# for an empty list.
holds(blocks, address) if {
	wanted := single(normal(address))
	net.cidr_is_valid(wanted)
	some block in blocks
	net.cidr_contains(normal(block), wanted)
}

# single is the block of one address.
single(address) := address if contains(address, "/")

else := concat("/", [address, "128"]) if contains(address, ":")

else := concat("/", [address, "32"])

# valid leaves out of a list what is no block.
valid(blocks) := [block | some block in blocks; net.cidr_is_valid(normal(block))]
