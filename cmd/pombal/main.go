// Command pombal runs and operates Pombal: one binary for development, for serving and for the
// operator's work on accounts and keys.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process at once
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "pombal:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop has been called
	}
}

// cli is every command. Each flag is also an environment variable, named in the help.
type cli struct {
	Dev         devCmd         `cmd:"" help:"Try Pombal: embedded database, sample account and key."`
	Serve       serveCmd       `cmd:"" help:"Serve the API, configured by the environment."`
	Migrate     migrateCmd     `cmd:"" help:"Bring the database up to date."`
	Instances   instancesCmd   `cmd:"" help:"Create, connect and manage instances, through the API of a server."`
	Events      eventsCmd      `cmd:"" help:"Follow what happens, through the API of a server."`
	Webhooks    webhooksCmd    `cmd:"" help:"Bring events to this machine; manage webhooks and see what became of deliveries."`
	Phone       phoneCmd       `cmd:"" help:"Play the phones and contacts of dev's fake WhatsApp: scan codes, write messages."`
	Accounts    accountsCmd    `cmd:"" help:"Create and list accounts."`
	Keys        keysCmd        `cmd:"" help:"Create, list and revoke API keys."`
	SigningKeys signingKeysCmd `cmd:"" help:"Rotate the keys that sign tokens."`
	Fakewa      fakewaCmd      `cmd:"" help:"Run the fake WhatsApp server: simulated phones and contacts, for development and tests."`
	Healthcheck healthcheckCmd `cmd:"" help:"Ask a node whether it is ready; for container health checks."`
	Version     versionCmd     `cmd:"" help:"Print the version."`
}

// streams are where a command writes.
type streams struct{ out, err io.Writer }

// errUsage ends a command whose help or usage has been printed.
var errUsage = errors.New("see pombal --help")

// run parses and carries out one command. Tests call it in-process.
func run(ctx context.Context, args []string, out, errOut io.Writer) error {
	exited := false
	parser, err := kong.New(&cli{},
		kong.Name("pombal"),
		kong.Description("A multi-tenant API over a fleet of WhatsApp instances."),
		kong.Writers(out, errOut),
		kong.Exit(func(int) { exited = true }),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(streams{out, errOut}))
	if err != nil {
		return err
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	command, err := parser.Parse(args)
	if exited { // help was printed
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w; %w", err, errUsage)
	}
	return command.Run()
}
