// Package migrations embeds the database schema: one folder for each engine, with files of equal
// numbers that make equal tables. A released file never changes; a change of the schema is a new
// number in both folders.
package migrations

import "embed"

// FS holds the folders postgres and sqlite.
//
//go:embed postgres/*.sql sqlite/*.sql
var FS embed.FS
