"""Rules of nstrace, and how each is broken: what scripts/mutate does, and who has to notice."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    """A rule, and how it is broken: in a file, one text for another. tests: who has to notice."""

    rule: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    @property
    def needs_kernel(self) -> bool:
        return any(test.startswith("tests/kernel") for test in self.tests)


def unit(name: str, *words: str) -> tuple[str, ...]:
    return (f"tests/unit/test_{name}.py", *words)


def kernel(name: str, test: str = "") -> tuple[str, ...]:
    return (f"tests/kernel/test_{name}.py" + (f"::{test}" if test else ""),)


BPF, TASK = "bpf/nstrace.bpf.c", "bpf/task.h"
TABLE, REPAIR, SELECTION, DECODING, LIVE = (
    *(f"tracer/stream/{name}.py" for name in ("table", "repair", "selection", "decoding")),
    "tracer/wiring/live.py",
)

MUTATIONS = (
    # what is known of cgroups
    Mutation(
        "a cgroup that another hierarchy removes is none of ours",
        BPF,
        "!open_reader() || !is_in_our_hierarchy(cgroup) ||",
        "!open_reader() ||",
        kernel("cgroup_removals"),
    ),
    Mutation(
        "a cgroup by which a namespace that lives is known is not forgotten",
        LIVE,
        "in_use = living | self._cgroups.with_those_above(attribution.cgroups_of_spaces())",
        "in_use = living",
        unit("container_churn"),
    ),
    Mutation(
        "what is known of a cgroup goes with it",
        BPF,
        "p = new_piece(0, KIND_PIECE_REMOVED);",
        "p = NULL;",
        kernel("cgroup_removals"),
    ),
    # what an exit says that its process ran
    Mutation(
        "what a process ran before a lost exec is not said at its exit",
        "tracer/stream/exit_commands.py",
        "np.where(is_same, said, _NOTHING)",
        "said",
        unit("exit_commands"),
    ),
    Mutation(
        "a process that another one has forked does not run what its parent runs",
        "tracer/stream/exit_commands.py",
        'is_by_parent = rows["old_tid"] == rows["parent_tgid"]',
        'is_by_parent = rows["old_tid"] == rows["old_tid"]',
        unit("exit_commands"),
    ),
    # what the kernel's side must do
    Mutation(
        "a refused event is counted",
        BPF,
        "\tc->failed[kind]++;\n",
        "",
        kernel("trace", "test_ring_too_small_loses_and_says_exactly_how_many"),
    ),
    Mutation(
        "a refused event has taken its sequence number",
        BPF,
        "\tc->failed[kind]++;\n",
        "\tc->failed[kind]++;\n\tc->seq--;\n",
        kernel("trace", "test_ring_too_small_loses_and_says_exactly_how_many"),
    ),
    Mutation(
        "the leader's exit does not end the process",
        BPF,
        "return ctx->args[1] & 0xff;",
        "return !is_thread(t);",
        kernel("stress_ends", "test_the_leader_goes_first_and_the_process_lives_on"),
    ),
    Mutation(
        "a thread's exit does not end the process",
        BPF,
        "return ctx->args[1] & 0xff;",
        "return true;",
        kernel("stress_ends", "test_threads_that_exit_at_once_are_one_exit"),
    ),
    Mutation(
        "the innermost level is the process's own",
        TASK,
        "read_upid(&who->upid, who->pid, e->level);",
        "read_upid(&who->upid, who->pid, e->level - !!e->level);",
        kernel("selfcheck"),
    ),
    Mutation(
        "the parent's number is that in the child's namespace",
        TASK,
        "\tif (parent->level < level)\n\t\treturn 0;\n"
        "\tread_upid(&upid, parent, level);\n\treturn upid.ns == ns ? upid.nr : 0;\n",
        "\tread_upid(&upid, parent, parent->level);\n\treturn upid.nr;\n",
        kernel("stress_ends", "test_processes_put_into_a_namespace_from_outside"),
    ),
    Mutation(
        "of two signals the one that was dropped names nobody",
        BPF,
        "(result != TRACE_SIGNAL_DELIVERED &&\n\t\t\t\t    result != TRACE_SIGNAL_LOSE_INFO)",
        "0",
        kernel("who_killed", "test_of_two_at_once_the_first_is_named"),
    ),
    Mutation(
        "the killer is the sender of the signal that ended the process, not of another",
        BPF,
        ".signal = head->status & 0x7f };",
        ".signal = 15 };",
        kernel("who_killed", "test_the_signal_that_has_ended_it_is_the_one_that_counts"),
    ),
    Mutation(
        "nobody is named where two signals may have been pending",
        BPF,
        "\t\tnew->sender = SENDER_UNSURE;\n",
        "\t\t;\n",
        kernel("who_killed", "test_nobody_is_named_where_it_is_not_known_whose_was_taken"),
    ),
    Mutation(
        "the end of a namespace is not the kernel's whim",
        TASK,
        "\tif (info == SEND_SIG_PRIV && signal == SIGKILL && is_ending &&",
        "\tif (0 &&",
        kernel("who_killed", "test_from_inside_from_outside_and_the_end_of_a_namespace"),
    ),
    Mutation(
        "what looks like a timer's and is a process's names the process",
        TASK,
        "info - sender->stack < STACK_BYTES;",
        "false;",
        kernel("who_killed", "test_however_it_is_sent_the_sender_is_named"),
    ),
    Mutation(
        "who is set aside leaves no killer behind",
        "tracer/stream/short_lived.py",
        '"deep_len", "exe_len", "args_len", "killer_len"',
        '"exe_len", "args_len"',
        unit("table_model"),
    ),
    Mutation(
        "what the beginning makes of an exit has no killer",
        "tracer/stream/beginning.py",
        '"args_total", "killer_len"):',
        '"args_total"):',
        unit("beginning"),
    ),
    Mutation(
        "oom is not said of a row because of the row beside it",
        "tracer/views/jsonl.py",
        "values[killed] = _NO_STATUS",
        "values[killed] += 0",
        unit("golden"),
    ),
    Mutation(
        "a flood does not hide the quiet",
        BPF,
        "\tif (is_flooding(kind, &pair, reader))\n\t\treturn",
        "\tif (0)\n\t\treturn",
        kernel("stress_flood"),
    ),
    Mutation(
        "exits are never throttled",
        BPF,
        " && kind != KIND_EXIT &&\n\t       kind != KIND_THREAD_EXIT",
        "",
        kernel("stress_flood"),
    ),
    Mutation(
        "a process that has moved is reported to its end",
        BPF,
        "has_moved(&who, kind) || kind == KIND_MOVE",
        "kind == KIND_MOVE",
        kernel("cgroup_moves"),
    ),
    Mutation(
        "a process is where its leader is",
        TASK,
        "cgroup_of(who->leader)",
        "cgroup_of(t)",
        kernel("cgroup_moves", "test_a_process_is_where_its_leader_is"),
    ),
    Mutation(
        "all programs begin and end at one moment",
        BPF,
        "reader && reader->state != READER_CLOSED ? reader : NULL",
        "reader",
        kernel("trace", "test_what_happens_before_and_after_it_is_not_reported"),
    ),
    # what the reader must do
    Mutation(
        "what an engine lists is its container, whatever the path is called",
        "tracer/containers/cgroup_paths.py",
        "    if _HEX.fullmatch(parts[depth - 1]):\n",
        "    if False:\n",
        unit("cgroup_paths"),
    ),
    Mutation(
        "what an engine has not said yet is not decided",
        SELECTION,
        "None if waits and target.waits(containers, chain) else",
        "",
        unit("selection") + unit("undecided"),
    ),
    Mutation(
        "what is held is shown when it is decided",
        "tracer/stream/undecided.py",
        "            yield from self._decided()\n",
        "",
        unit("undecided"),
    ),
    Mutation(
        "labels of lives never collide",
        "tracer/containers/cgroups.py",
        "container = self._labels.number(now, before.incarnation if before else 1, life=claim.root)",
        "container = now",
        unit("cgroups"),
    ),
    Mutation(
        "who listens at a user's path is that user",
        "tracer/containers/connector.py",
        "_listener_uid(made) != address.owner",
        "False",
        unit("engine"),
    ),
    Mutation(
        "what happens to containers is no stranger's to say",
        "tracer/containers/engine_enquiry.py",
        "if self.is_trusted and self._is_engine:  # what",
        "if self._is_engine:  # what",
        unit("several_engines"),
    ),
    Mutation(
        "an engine that is back is asked for everything again",
        "tracer/containers/engine_enquiry.py",
        "self._lists_all, self._not_before_s, self._pause_s = True,",
        "self._lists_all, self._not_before_s, self._pause_s = False,",
        unit("listening"),
    ),
    Mutation(
        "who moves in has a beginning",
        "tracer/stream/cgroup_moves.py",
        'rows["kind"][at], rows["flags"][at] = Kind.SNAPSHOT, ',
        'rows["kind"][at], rows["flags"][at] = Kind.MOVE, ',
        unit("moves"),
    ),
    Mutation(
        "who was evicted is not born again",
        REPAIR,
        "if table.was_evicted(",
        "if False and table.was_evicted(",
        unit("repair"),
    ),
    Mutation(
        "times come from a clock that nobody sets",
        "tracer/kernel/trace.py",
        "time.clock_gettime_ns(time.CLOCK_BOOTTIME)",
        "time.clock_gettime_ns(time.CLOCK_REALTIME)",
        kernel("stress_clock"),
    ),
    Mutation(
        "an inode number alone is no namespace",
        "tracer/stream/pidns.py",
        "Number(PidnsId(inum, gen), nr)",
        "Number(PidnsId(inum, 0), nr)",
        unit("attribution") + unit("table"),
    ),
    Mutation(
        "a PID alone is no process",
        TABLE,
        "process is not None and process.start_ns == start_ns",
        "process is not None",
        unit("table"),
    ),
    Mutation(
        "a namespace outlives its first process",
        TABLE,
        "        process.exited_ns = ts_ns\n",
        "        process.exited_ns = ts_ns\n"
        "        self._spaces.pop(process.path[-1] if process.nr == 1 else None, None)\n",
        unit("table"),
    ),
    Mutation(
        "a number that is given away has no two owners",
        TABLE,
        "                    continue\n                self._forget(before)\n",
        "                    continue\n",
        unit("table"),
    ),
    Mutation("who had ended when listed does not live", TABLE, "if flags & _ENDED:", "if False:", unit("table")),
    Mutation("no answer about the living after a gap", TABLE, " and not self.unsure", "", unit("table")),
    Mutation("the dead are evicted first", TABLE, "            if exited:\n", "            if False:\n", unit("table")),
    Mutation(
        "a gap is followed by a repair",
        LIVE,
        "if comparing.due_in() == 0:",
        "if False:",
        kernel("stress_gaps", "test_a_workload_that_ends_in_a_gap_leaves_a_right_table"),
    ),
    Mutation(
        "a repair finds who was born",
        REPAIR,
        "    found = listed.select(candidates)",
        "    found = listed.select(candidates & False)",
        unit("repair"),
    ),
    Mutation(
        "a repair finds who has vanished",
        REPAIR,
        "if _was_not_evicted(process, table) and",
        "if False and",
        unit("repair"),
    ),
    Mutation(
        "nobody is born who is about to end",
        REPAIR,
        'candidates = (rows["flags"] & Flag.ENDING == 0) &',
        "candidates =",
        unit("repair"),
    ),
    Mutation(
        "no process is told twice",
        REPAIR,
        "return batch.select(~(echoes &",
        "return batch.select(~(echoes & False &",
        unit("repair"),
    ),
    Mutation(
        "an exec that was lost is made up for",
        REPAIR,
        "listed.select((ahead > 0) &",
        "listed.select((ahead > 1) &",
        unit("repair"),
    ),
    Mutation(
        "a cgroup's name that was refused does not count as told",
        BPF,
        "\t\tp = new_piece(seq, KIND_PIECE_CGROUP);\n\t\tif (!p)\n\t\t\treturn false;\n",
        "\t\tp = new_piece(seq, KIND_PIECE_CGROUP);\n\t\tif (!p)\n\t\t\tbreak;\n",
        kernel("stress_gaps", "test_the_name_of_a_cgroup_that_had_no_room_is_told_later"),
    ),
    Mutation(
        "an exec is known by its number, not by the name",
        TASK,
        "\te->exec_id = who->leader->self_exec_id; /* the low bits of it */\n",
        "",
        kernel("stress_gaps", "test_a_program_that_was_changed_in_a_gap_is_told"),
    ),
    Mutation("no exec is told twice", REPAIR, "execs * _MIX", "execs * np.uint64(0)", unit("repair")),
    Mutation("a hole is told", DECODING, "if len(holes) else batch", "if False else batch", unit("decoding")),
    Mutation(
        "a loss at the end is told",
        DECODING,
        "            elif lost > 0:\n",
        "            elif False:\n",
        unit("decoding"),
    ),
    Mutation(
        "the name of a cgroup is not put together from two attempts",
        DECODING,
        "if whose == [seq, cgroup_id]:",
        "if True:",
        unit("decoding"),
    ),
    Mutation(
        "pieces of a refused event go to no other",
        DECODING,
        "good = ~early & (seq[pieces] == seq[owners])",
        "good = ~early",
        unit("decoding"),
    ),
    Mutation(
        "whose losses: exact or silent", "tracer/stream/losses.py", "if len(since) == 1:", "if since:", unit("losses")
    ),
    Mutation(
        "what is invisible is not shown",
        "tracer/text/escape.py",
        "text.isprintable() and (text.isascii() or not _UNSEEN.search(text))",
        "text.isprintable()",
        unit("gate", "-k", "json"),
    ),
    Mutation(
        "what is printed as text passes the gate",
        "tracer/gate.py",
        "self.ungated.write(safe_lines(text))",
        "self.ungated.write(text)",
        unit("gate", "-k", "run"),
    ),
    Mutation(
        "no cell is a formula",
        "tracer/recording/export.py",
        "pa.array(map(cell, suspects), pa.string())",
        "pa.array(suspects, pa.string())",
        unit("cells"),
    ),
    Mutation(
        "of arguments that were cut, the password is masked as far as it is there",
        "tracer/secrets/arguments.py",
        "if is_cut and shown",
        "if False and shown",
        unit("redactor"),
    ),
    Mutation(
        "what exists already is redacted too",
        LIVE,
        "map(self._redacted, needed)",
        "needed",
        kernel("secrecy", "test_nothing_secret_is_in_a_recording"),
    ),
    Mutation(
        "the account finds what was not delivered",
        "tracer/stream/account.py",
        'np.nonzero(self.delivered != counts["submitted"])',
        "np.nonzero(np.zeros((1, 1)))",
        unit("account"),
    ),
    Mutation(
        "a forgotten decision is told again",
        SELECTION,
        "if batch.may_have(Flag.UNDECIDED):",
        "if False:",
        unit("selection"),
    ),
    Mutation(
        "nothing is decided for good about an unknown cgroup",
        SELECTION,
        "if pair[2] in self.attribution.cgroups:",
        "if True:",
        unit("selection"),
    ),
    # what is written
    Mutation(
        "what another process has put in the place of a temporary name gets no name from us",
        "tracer/recording/folder.py",
        "if not self.holds(temporary, made):",
        "if False:",
        unit("folder"),
    ),
    Mutation(
        "a name that something gets meanwhile is not replaced",
        "tracer/recording/folder.py",
        "if replaces or not self._renamed_to_new(temporary, name):",
        "if True:",
        unit("folder"),
    ),
    Mutation(
        "what is made is private whatever the umask",
        "tracer/recording/folder.py",
        "before = os.umask(0o077)",
        "before = os.umask(os.umask(0))",
        unit("folder"),
    ),
    Mutation(
        "a name that is planted for a later file does not end the recording",
        "tracer/recording/rotate.py",
        "except AlreadyThere:",
        "except ZeroDivisionError:",
        unit("rotation"),
    ),
    Mutation(
        "what is stored and does not load is compiled again",
        "tracer/kernel/loader_child.py",
        "contextlib.suppress(NstraceError, LookupError)",
        "contextlib.suppress(ZeroDivisionError)",
        kernel("files", "test_a_stored_program_that_does_not_load_is_compiled_again"),
    ),
    Mutation(
        "what a user may have called so proves nothing by itself",
        "tracer/containers/believing.py",
        "if not claim.maker and not within:",
        "if not within:",
        unit("cgroups"),
    ),
    Mutation(
        "a container of root's engine is nobody else's",
        "tracer/containers/believing.py",
        "return bool(within) or not claim.is_by_its_engine()",
        "return False",
        unit("cgroups"),
    ),
    Mutation(
        "a claim inside a container needs a namespace inside of that container's",
        "tracer/stream/membership.py",
        "is_within = not within",
        "is_within = True",
        unit("attribution"),
    ),
    Mutation(
        "a first process that is moved stays its own container's",
        "tracer/stream/membership.py",
        "if said and said.id != own.container.id and (is_unheard_of or self._home_of(own.root)):",
        "if False:",
        unit("attribution"),
    ),
    Mutation(
        "a name that comes late names the rows before it",
        "tracer/stream/attribution.py",
        "fact = self.late.get(cgroup_id) or fact",
        "pass",
        unit("replay", "-k", "comes_late"),
    ),
    Mutation(
        "facts that no row needs are not passed on",
        "tracer/stream/needed_facts.py",
        "stays[at] = self._is_known(part, at)",
        "stays[at] = True",
        unit("needed_facts"),
    ),
    Mutation(
        "what is shown of a moment depends on the moment alone",
        "tracer/stream/sampling.py",
        'self._recent = self._recent[self._recent["ts_ns"] > self._now_ns - WINDOW_NS]',
        "self._recent = fresh",
        unit("sampling"),
    ),
    Mutation(
        "a lane is that of a life, however the container is called",
        "tracer/stream/lanes.py",
        "return container.id, root, 0 if root else container.incarnation",
        "return container.id, 0, container.incarnation",
        unit("lanes"),
    ),
)
