package lossd

// Version of this module. The repository's version.txt has the same.
const Version = "0.1.0"
