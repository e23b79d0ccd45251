# The configurations of an image, one for each platform.
package portcullis.lib.configs

# runnable are those that a node can run. BuildKit puts its attestations into an index as manifests of the
# platform unknown/unknown, which no runtime chooses; an image that is not an index runs whatever it
# says its platform is.
runnable(image) := image.configs if {
	count(image.configs) < 2
} else := [config | some config in image.configs; platform := config.platform; not startswith(platform, "unknown/")]

# root says whether the image itself makes its process root. A user without name is root, and so is
# every way to write 0 that runtimes read as a number; a group may follow. Windows has users of its own.
root(config) if {
	platform := config.platform
	not startswith(platform, "windows/")
	regex.match(`^(?:root|[+-]?0*)(?::.*)?$`, config.user)
}
