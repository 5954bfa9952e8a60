// Package sessions has the processes of the benchmark's suite of connected instances: the fake WhatsApp
// (Host), and a process that keeps many sessions (Keep), by Pombal's session layer or, as the floor, by bare
// clients of the library underneath. Each says of itself what it uses; Prepare makes what they connect.
package sessions

import (
	"github.com/pombal-api/pombal/internal/app"
	"github.com/pombal-api/pombal/internal/fakewa"
)

// Script is what a process of the suite is told.
type Script struct {
	Floor    bool     `json:"floor"`    // bare clients instead of Pombal's session layer
	Store    Database `json:"store"`    // of instances and wishes; the floor has none
	Devices  Database `json:"devices"`  // of paired devices
	WhatsApp string   `json:"whatsApp"` // host:port of the fake one
	JIDs     []string `json:"jids"`     // the devices that the floor connects
}

// Database is one on PostgreSQL when it has a URL, and else one on SQLite in a folder.
type Database struct {
	URL string `json:"url"`
	Dir string `json:"dir"`
}

// seed decides the keys of the fake WhatsApp, which all processes must know.
const seed = "the benchmark's own fake WhatsApp"

func rootKey() [32]byte { return fakewa.RootKey([]byte(seed)) }

// Nowhere is the fake WhatsApp of a node that connects nothing. A process can trust one only: that of this package.
func Nowhere() *app.Sandbox { return &app.Sandbox{Addr: "127.0.0.1:1", RootKey: rootKey()} }
