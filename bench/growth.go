package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/pombal-api/pombal/bench/internal/child"
	"github.com/pombal-api/pombal/bench/internal/dataset"
	"github.com/pombal-api/pombal/bench/internal/load"
)

// cell is one question of the growth suite, asked over and over on one connection.
type cell struct {
	Engine  string        `json:"engine"`
	Case    string        `json:"case"`
	Size    int           `json:"size"` // instances of the account
	Partner bool          `json:"partner,omitempty"`
	Results []load.Result `json:"results"` // one for each round

	job load.Job
}

// The cases of the growth suite.
const (
	caseFirst      = "first page"
	caseFiltered   = "status=connected"
	caseCursor     = "cursor in the middle"
	caseDeep       = "offset 10,000"
	caseDeeper     = "offset 500,000"
	caseTotal      = "limit 1: mostly the total"
	caseFirst20    = "first page, limit 20"
	caseFiltered20 = "status=connected, limit 20"
	caseCursor20   = "cursor in the middle, limit 20"
)

// cases returns the cases in the order of the report. Pages of 20 are what an account of 50 can fill, also
// with a filter and from its middle.
func cases() []string {
	return []string{
		caseFirst, caseFiltered, caseCursor, caseDeep, caseDeeper, caseTotal, caseFirst20, caseFiltered20, caseCursor20,
	}
}

// growthSuite measures pages of accounts of all sizes among everybody's rows.
type growthSuite struct {
	stage *stage
	cells []*cell
}

// engines of the growth suite.
const (
	enginePostgres = "PostgreSQL"
	engineSQLite   = "SQLite"
)

func (g *growthSuite) run(ctx context.Context) error {
	s := g.stage
	server, err := s.serve(ctx, "growth", s.binary, node{DatabaseURL: s.databaseURL})
	if err != nil {
		return err
	}
	if err = g.engine(ctx, enginePostgres, server, s.postgres.PID, s.data); err != nil || s.sqliteData == nil {
		return err
	}
	if server, err = s.serve(ctx, "growth-sqlite", s.binary, node{DataDir: s.dataDir}); err != nil {
		return err
	}
	return g.engine(ctx, engineSQLite, server, 0, s.sqliteData)
}

// engine measures one engine's cells in rounds.
func (g *growthSuite) engine(ctx context.Context, engine string, server *child.Server, database int, data *dataset.Data) error {
	cells, err := g.makeCells(ctx, engine, server, database, data)
	if err != nil {
		return fmt.Errorf("%s: %w", engine, err)
	}
	g.cells = append(g.cells, cells...)
	for round := range g.stage.options.growthRounds {
		for _, c := range cells {
			result, err := g.stage.generator.Run(ctx, c.job)
			if err != nil {
				return fmt.Errorf("%s, %s of %d: %w", engine, c.Case, c.Size, err)
			}
			c.Results = append(c.Results, result)
		}
		slices.Reverse(cells) // so that no one profits from its place
		g.stage.log.InfoContext(ctx, "measured growth", "engine", engine, "round", round+1)
	}
	return nil
}

// makeCells makes all questions that the data allows.
func (g *growthSuite) makeCells(ctx context.Context, engine string, server *child.Server, database int, data *dataset.Data) ([]*cell, error) {
	var cells []*cell
	var sizes []int
	for size := range data.Sized {
		sizes = append(sizes, size)
	}
	slices.Sort(sizes)
	for _, size := range sizes {
		more, err := g.account(ctx, engine, server, size, question{key: data.Sized[size].Key})
		if err != nil {
			return nil, err
		}
		cells = append(cells, more...)
	}
	if p := data.Partner; p != nil {
		more, err := g.account(ctx, engine, server, p.Size, question{key: p.Key, account: "*"})
		if err != nil {
			return nil, fmt.Errorf("partner: %w", err)
		}
		cells = append(cells, more...)
	}
	for _, c := range cells {
		c.job.Addr, c.job.Conns, c.job.WarmUp, c.job.Duration = server.Addr, 1, g.stage.options.growthSlice/3, g.stage.options.growthSlice
		c.job.Server, c.job.Database = server.PID, database
	}
	return cells, nil
}

// account makes the questions of one account, or of all accounts of a partner.
func (g *growthSuite) account(ctx context.Context, engine string, server *child.Server, size int, who question) ([]*cell, error) {
	if err := checkTotals(ctx, server.Addr, who, size); err != nil {
		return nil, err
	}
	middle, err := cursorAt(ctx, server.Addr, who, size/2-1)
	if err != nil {
		return nil, err
	}
	paths := map[string]string{
		caseFirst: "?limit=50", caseFiltered: "?limit=50&status=connected", caseTotal: "?limit=1",
		caseFirst20: "?limit=20", caseFiltered20: "?limit=20&status=connected", caseCursor20: "?limit=20&cursor=" + middle,
	}
	if size >= 1_000 {
		paths[caseCursor] = "?limit=50&cursor=" + middle
	}
	if size >= 20_000 {
		paths[caseDeep] = "?limit=50&offset=10000"
	}
	if size > 500_050 {
		paths[caseDeeper] = "?limit=50&offset=500000"
	}
	var cells []*cell
	for _, name := range cases() {
		path, ok := paths[name]
		if !ok {
			continue
		}
		q := who
		q.path = "/v1/instances" + path
		request, err := q.request(ctx, server.Addr)
		if err != nil {
			return nil, err
		}
		cells = append(cells, &cell{
			Engine: engine, Case: name, Size: size, Partner: who.account != "",
			job: load.Job{Requests: []load.Request{request}},
		})
	}
	return cells, nil
}

// checkTotals holds the totals against what is known: a fast wrong number is no feat.
func checkTotals(ctx context.Context, addr string, who question, size int) error {
	sum := 0
	for _, status := range []string{"all", "connected", "connecting", "disconnected"} {
		q := who
		q.path = "/v1/instances?limit=1&status=" + status
		page, err := q.page(ctx, addr)
		if err != nil {
			return err
		}
		if status == "all" && page.Pagination.Total != size {
			return fmt.Errorf("the total of an account of %d is %d", size, page.Pagination.Total)
		}
		sum += page.Pagination.Total
	}
	if sum != 2*size {
		return fmt.Errorf("the totals by status of an account of %d add up to %d", size, sum-size)
	}
	return nil
}

// cursorAt returns the cursor after the instance at an offset.
func cursorAt(ctx context.Context, addr string, who question, offset int) (string, error) {
	who.path = "/v1/instances?limit=1&offset=" + strconv.Itoa(offset)
	page, err := who.page(ctx, addr)
	if err != nil {
		return "", err
	}
	if page.Pagination.NextCursor == nil {
		return "", fmt.Errorf("there is no cursor at %d of %d", offset, page.Pagination.Total)
	}
	return *page.Pagination.NextCursor, nil
}

// values returns one value for each round.
func (c *cell) values(of func(load.Result) float64) []float64 {
	values := make([]float64, len(c.Results))
	for i, r := range c.Results {
		values[i] = of(r)
	}
	return values
}
