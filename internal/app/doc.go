// Package app puts the parts together: it reads the configuration, opens the database, wires the
// packages to each other, listens, supervises what runs for long, and stops it all in order. It is the
// only package that imports its siblings.
package app
