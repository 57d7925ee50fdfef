package sandbox

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
)

// Main runs a sandbox as a process of its own until ctx ends. Once it listens, it writes one line to out,
// "sandbox http://127.0.0.1:PORT", for whoever started it.
func Main(ctx context.Context, args []string, out io.Writer) error {
	var (
		opts    Options
		address string
	)
	flags := flag.NewFlagSet("sandbox", flag.ContinueOnError)
	flags.SetOutput(out)
	flags.StringVar(&address, "listen", "127.0.0.1:0", "address to listen on")
	flags.StringVar(&opts.Journal, "journal", "", "file that keeps estimates, invoices and webhooks")
	flags.StringVar(&opts.ClientID, "client-id", "", "OAuth client id (default sandbox-client)")
	flags.StringVar(&opts.ClientSecret, "client-secret", "", "OAuth client secret (default sandbox-secret)")
	flags.StringVar(&opts.PersonalToken, "personal-token", "", "a static token that is always good")
	flags.DurationVar(&opts.TokenLifetime, "token-lifetime", 0, "lifetime of tokens (default 1h)")
	flags.IntVar(&opts.PerSecond, "per-second", 0, "quota of requests per second, 0 for none")
	flags.IntVar(&opts.PerMinute, "per-minute", 0, "quota of requests per minute, 0 for none")
	flags.Uint64Var(&opts.Seed, "seed", 1, "seed of the faults' chance")
	flags.Func("fault", `a fault, may be repeated: "POST /v2/invoices p=0.1 drop_answer"`, func(text string) error {
		f, err := ParseFault(text)
		opts.Faults = append(opts.Faults, f)
		return err
	})
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	if rest := flags.Args(); len(rest) > 0 {
		return fmt.Errorf("sandbox takes no arguments besides its flags: %s", strings.Join(rest, " "))
	}
	server, err := Serve(address, opts)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(out, "sandbox %s\n", server.URL); err != nil {
		return errors.Join(err, server.Close())
	}
	<-ctx.Done()
	return server.Close()
}
