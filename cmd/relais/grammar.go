package main

import "time"

// grammar is the command line. Each help text is a variable of the catalogue, so that a command whose
// text is missing in a language doesn't build; the examples of a command stand under its name.
type grammar struct {
	Config string `short:"c" default:"relais.yaml" env:"RELAIS_CONFIG" placeholder:"${ph_file}" help:"${flag_config}"`
	Data   string `short:"d" env:"RELAIS_DATA" placeholder:"${ph_dir}" help:"${flag_data}"`

	Serve      serveCommand      `cmd:"" help:"${cmd_serve}"`
	Demo       demoCommand       `cmd:"" help:"${cmd_demo}"`
	Init       initCommand       `cmd:"" help:"${cmd_init}"`
	Check      checkCommand      `cmd:"" help:"${cmd_check}"`
	Asyncapi   asyncapiCommand   `cmd:"" help:"${cmd_asyncapi}"`
	Send       sendCommand       `cmd:"" help:"${cmd_send}"`
	Status     statusCommand     `cmd:"" help:"${cmd_status}"`
	Nodes      nodesCommand      `cmd:"" help:"${cmd_nodes}"`
	Reload     reloadCommand     `cmd:"" help:"${cmd_reload}"`
	Spool      spoolCommands     `cmd:"" help:"${cmd_spool}"`
	Events     eventsCommands    `cmd:"" help:"${cmd_events}"`
	Deliveries deliveryCommands  `cmd:"" help:"${cmd_deliveries}"`
	Rejections rejectionCommands `cmd:"" help:"${cmd_rejections}"`
	Effects    effectCommands    `cmd:"" help:"${cmd_effects}"`
	Replay     replayCommand     `cmd:"" help:"${cmd_replay}"`
	Pause      pauseCommand      `cmd:"" help:"${cmd_pause}"`
	Resume     resumeCommand     `cmd:"" help:"${cmd_resume}"`
	Dolibarr   dolibarrCommands  `cmd:"" help:"${cmd_dolibarr}"`
	Sellsy     sellsyCommands    `cmd:"" help:"${cmd_sellsy}"`
	Backup     backupCommand     `cmd:"" help:"${cmd_backup}"`
	Store      storeCommands     `cmd:"" help:"${cmd_store}"`
	Bench      benchCommand      `cmd:"" help:"${cmd_bench}"`
	Version    versionCommand    `cmd:"" help:"${cmd_version}"`

	BenchNoStore benchNoStoreCommand `cmd:"" name:"bench-nostore" hidden:""`
	BenchServe   benchServeCommand   `cmd:"" name:"bench-serve" hidden:""`
	BenchPrefill benchPrefillCommand `cmd:"" name:"bench-prefill" hidden:""`
	BenchDrain   benchDrainCommand   `cmd:"" name:"bench-drain" hidden:""`
	BenchPost    benchPostCommand    `cmd:"" name:"bench-post" hidden:""`
	BenchRetain  benchRetainCommand  `cmd:"" name:"bench-retain" hidden:""`
	Sandbox      sandboxCommand      `cmd:"" passthrough:"" hidden:""`
}

// output is the part of every command that shows data.
type output struct {
	JSON bool `name:"json" help:"${flag_json}"`
}

// page is the part of every list.
type page struct {
	Limit  int    `short:"n" default:"50" placeholder:"N" help:"${flag_limit}"`
	Cursor string `placeholder:"${ph_cursor}" help:"${flag_cursor}"`
	output
}

// span is the part of what takes a time range: a time, or how long ago.
type span struct {
	Since moment `placeholder:"${ph_time}" help:"${flag_since}"`
	Until moment `placeholder:"${ph_time}" help:"${flag_until}"`
}

type serveCommand struct {
	Role        string `enum:"all,ingest,worker" default:"all" help:"${flag_role}"`
	Listen      string `placeholder:"${ph_addr}" help:"${flag_listen}"`
	AdminListen string `placeholder:"${ph_addr}" help:"${flag_admin_listen}"`
}

type demoCommand struct {
	Once bool `help:"${flag_once}"`
}

type initCommand struct {
	Preset string `default:"sellsy" placeholder:"${ph_preset}" help:"${flag_preset}"`
	Force  bool   `help:"${flag_force}"`
}

type checkCommand struct{ output }

type asyncapiCommand struct{}

type sendCommand struct {
	Source string   `arg:"" name:"source" help:"${arg_source}"`
	Type   string   `arg:"" name:"type" optional:"" help:"${arg_type}"`
	ID     string   `name:"id" default:"1" placeholder:"N" help:"${flag_id}"`
	File   string   `short:"f" placeholder:"${ph_file}" help:"${flag_file}"`
	URL    string   `name:"url" placeholder:"URL" help:"${flag_url}"`
	Header []string `short:"H" placeholder:"${ph_header}" sep:"none" help:"${flag_header}"`
	output
}

type statusCommand struct{ output }

type reloadCommand struct{ output }

type eventsCommands struct {
	List  eventsList  `cmd:"" default:"withargs" help:"${cmd_events_list}"`
	Show  eventsShow  `cmd:"" help:"${cmd_events_show}"`
	Purge eventsPurge `cmd:"" help:"${cmd_events_purge}"`
}

type eventsList struct {
	Source  string `placeholder:"${ph_name}" help:"${flag_source}"`
	Type    string `placeholder:"${ph_pattern}" help:"${flag_type}"`
	Repeats bool   `help:"${flag_repeats}"`
	Where   string `placeholder:"${ph_cel}" help:"${flag_where}"`
	span
	page
}

type eventsShow struct {
	ID   string `arg:"" name:"id" help:"${arg_event}"`
	Body bool   `help:"${flag_body}"`
	output
}

type eventsPurge struct {
	IDs    []string `arg:"" name:"id" optional:"" help:"${arg_events}"`
	Where  string   `placeholder:"${ph_cel}" help:"${flag_where}"`
	Source string   `placeholder:"${ph_name}" help:"${flag_source}"`
	Type   string   `placeholder:"${ph_pattern}" help:"${flag_type}"`
	span
	DryRun bool `help:"${flag_dry_run}"`
	output
}

type deliveryCommands struct {
	List   deliveriesList   `cmd:"" default:"withargs" help:"${cmd_deliveries_list}"`
	Show   deliveriesShow   `cmd:"" help:"${cmd_deliveries_show}"`
	Cancel deliveriesCancel `cmd:"" help:"${cmd_deliveries_cancel}"`
}

type deliveriesList struct {
	State       string `placeholder:"${ph_state}" help:"${flag_state}"`
	Source      string `placeholder:"${ph_name}" help:"${flag_source}"`
	Event       string `placeholder:"ID" help:"${flag_event}"`
	Destination string `placeholder:"${ph_destination}" help:"${flag_destination}"`
	span
	page
}

type deliveriesShow struct {
	ID string `arg:"" name:"id" help:"${arg_delivery}"`
	output
}

type deliveriesCancel struct {
	IDs []string `arg:"" name:"id" help:"${arg_deliveries}"`
	output
}

type rejectionCommands struct {
	List  rejectionsList  `cmd:"" default:"withargs" help:"${cmd_rejections_list}"`
	Show  rejectionsShow  `cmd:"" help:"${cmd_rejections_show}"`
	Retry rejectionsRetry `cmd:"" help:"${cmd_rejections_retry}"`
}

type rejectionsList struct {
	Source string `placeholder:"${ph_name}" help:"${flag_source}"`
	Reason string `placeholder:"${ph_reason}" help:"${flag_reason}"`
	Since  moment `placeholder:"${ph_time}" help:"${flag_since}"`
	page
}

type rejectionsShow struct {
	ID   int64 `arg:"" name:"id" help:"${arg_rejection}"`
	Body bool  `help:"${flag_body}"`
	output
}

type rejectionsRetry struct {
	IDs    []int64 `arg:"" name:"id" optional:"" help:"${arg_rejections}"`
	Source string  `placeholder:"${ph_name}" help:"${flag_retry_source}"`
	Since  moment  `placeholder:"${ph_time}" help:"${flag_since}"`
	DryRun bool    `help:"${flag_dry_run}"`
	output
}

type effectCommands struct {
	List    effectsList    `cmd:"" default:"withargs" help:"${cmd_effects_list}"`
	Show    effectsShow    `cmd:"" help:"${cmd_effects_show}"`
	Resolve effectsResolve `cmd:"" help:"${cmd_effects_resolve}"`
}

type effectsList struct {
	State  string `placeholder:"${ph_state}" help:"${flag_effect_state}"`
	Prefix string `placeholder:"${ph_prefix}" help:"${flag_prefix}"`
	page
}

type effectsShow struct {
	Key string `arg:"" name:"key" help:"${arg_key}"`
	output
}

type effectsResolve struct {
	Key    string `arg:"" name:"key" help:"${arg_key}"`
	Done   string `placeholder:"ID" xor:"word" required:"" help:"${flag_done}"`
	Absent bool   `xor:"word" required:"" help:"${flag_absent}"`
	output
}

type replayCommand struct {
	IDs         []string `arg:"" name:"id" optional:"" help:"${arg_replay}"`
	Source      string   `placeholder:"${ph_name}" help:"${flag_source}"`
	Type        string   `placeholder:"${ph_pattern}" help:"${flag_type}"`
	State       string   `placeholder:"${ph_state}" help:"${flag_replay_state}"`
	Reason      string   `placeholder:"${ph_reason}" help:"${flag_replay_reason}"`
	Where       string   `placeholder:"${ph_cel}" help:"${flag_where}"`
	Destination string   `placeholder:"${ph_destination}" help:"${flag_destination}"`
	span
	FromStep string `placeholder:"ID" help:"${flag_from_step}"`
	Limit    int    `short:"n" default:"1000" placeholder:"N" help:"${flag_replay_limit}"`
	All      bool   `help:"${flag_replay_all}"`
	After    string `placeholder:"ID" help:"${flag_replay_after}"`
	DryRun   bool   `help:"${flag_dry_run}"`
	output
}

type pauseCommand struct {
	Scope  string `arg:"" name:"scope" optional:"" help:"${arg_scope}"`
	Name   string `arg:"" name:"name" optional:"" help:"${arg_name}"`
	Reason string `placeholder:"${ph_text}" help:"${flag_pause_reason}"`
	output
}

type resumeCommand struct {
	Scope string `arg:"" name:"scope" optional:"" default:"all" help:"${arg_scope}"`
	Name  string `arg:"" name:"name" optional:"" help:"${arg_name}"`
	output
}

type benchCommand struct {
	Only     []string      `placeholder:"${ph_name}" help:"${flag_bench_only}"`
	Dir      string        `placeholder:"${ph_dir}" help:"${flag_bench_dir}"`
	Results  string        `default:"bench/results" placeholder:"${ph_dir}" help:"${flag_bench_results}"`
	Turn     time.Duration `default:"4s" placeholder:"${ph_duration}" help:"${flag_bench_turn}"`
	Rounds   int           `default:"5" placeholder:"N" help:"${flag_bench_rounds}"`
	Events   int           `default:"1000000" placeholder:"N" help:"${flag_bench_events}"`
	Postgres string        `placeholder:"URL" help:"${flag_bench_pg}"`
}

// What follows is what bench starts in processes of their own.
type benchNoStoreCommand struct {
	Listen string `required:""`
}

type benchServeCommand struct {
	Listen      string `required:""`
	AdminListen string `required:""`
	Hang        string `required:""`
}

type benchPrefillCommand struct {
	Events int `required:""`
	Old    int
	First  int
	Lanes  int
	Body   int
}

type benchDrainCommand struct {
	Deliveries int64 `required:""`
}

type benchPostCommand struct {
	URL  string        `name:"url" required:""`
	Body int           `required:""`
	For  time.Duration `required:""`
}

type benchRetainCommand struct {
	Age time.Duration `required:""`
}

type versionCommand struct{ output }

// sandboxCommand runs the imitation of Sellsy, which has flags of its own.
type sandboxCommand struct {
	Args []string `arg:"" optional:""`
}

// moment is a time, a day, or how long ago: 2026-03-02T09:00:00+01:00, 2026-03-02, 90m, 7d.
type moment struct{ time.Time }
