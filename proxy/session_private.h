// SPDX-License-Identifier: ISC
/*
 * What the files of the session share: session.c (life and end),
 * session_server.c (the server's side), session_proxy.c (whose addresses),
 * session_young.c (keep-alive), session_queue.c (command lines), session_command.c (what a command does),
 * session_ahead.c (a server before USER), session_reach.c (a server that
 * greets), session_logon.c (USER to 230), session_identity.c (as whom),
 * session_certificate.c (the certificate that stands for a password),
 * session_tls.c and session_ccc.c (into TLS and out of it), session_feat.c
 * (what may be promised), session_transfer.c (PASV to the last byte),
 * session_finish.c (to 226).
 *
 * Rule of the house: whoever calls a function that may end the session does
 * nothing with it afterwards but look at session_is_over().
 */
#ifndef SALLYPORT_SESSION_PRIVATE_H
#define SALLYPORT_SESSION_PRIVATE_H

#include "sallyport/connect.h"
#include "sallyport/control.h"
#include "sallyport/data.h"
#include "sallyport/line.h"
#include "sallyport/loop.h"
#include "sallyport/pool_ledger.h"
#include "sallyport/proxy_reader.h"
#include "sallyport/reply.h"
#include "sallyport/resolver.h"
#include "sallyport/route.h"
#include "sallyport/session.h"
#include "sallyport/verb.h"

/* Above this many bytes of waiting command lines the client is not read. */
#define QUEUE_HIGH	 4096
/* One read of a control connection. */
#define CONTROL_READ_MAX 8192
/* What a server may take to answer an ABOR beyond the transfer's own reply. */
#define ABOR_WAIT_MS	 3000
/* For how many clients of a worker that have not said USER a server is held at once. */
#define AHEAD_MAX	 256
#define TRAIL_MAX	 8

/* What the reply that the server owes us is for. */
enum purpose {
	PURPOSE_NONE,
	PURPOSE_LOGON,	  /* a step of session_logon.c */
	PURPOSE_COMMAND,  /* a client's command: the reply is the client's */
	PURPOSE_ANNOUNCE, /* nothing of the server: the address for the client's PASV is looked up */
	PURPOSE_PREPARE,  /* EPSV, PASV, EPRT or PORT of ours, for a client's PASV and the like */
	PURPOSE_TRANSFER, /* a transfer command */
	PURPOSE_FEAT,	  /* FEAT of ours, after a server's first logon */
	PURPOSE_ABOR,	  /* the second reply of an aborted transfer */
	PURPOSE_QUIT,
};

enum logon_stage {
	LOGON_NONE,	/* before USER, or after a refused one (a server may still be connected) */
	LOGON_QUEUED,	/* waits for a slot */
	LOGON_LOOKUP,
	LOGON_DIAL,
	LOGON_GREETING,
	LOGON_AUTH,	/* AUTH TLS is sent */
	LOGON_TLS,	/* the handshake with the server runs */
	LOGON_PBSZ,	/* PBSZ is sent */
	LOGON_PROT,	/* PROT is sent */
	LOGON_USER,	/* USER is sent */
	LOGON_PASSWORD, /* the client has been asked for PASS */
	LOGON_PASS,	/* PASS is sent */
	LOGON_ACCOUNT,	/* the client has been asked for ACCT */
	LOGON_ACCT,	/* ACCT is sent */
	LOGON_UTF8,	/* 230 is here; OPTS UTF8 is repeated to the server */
	LOGON_REFUSED,	/* the 530 will be said when its time has come (reject_delay) */
};

/* Exists from USER to 230; then its secrets are wiped and it is freed. */
struct logon {
	struct connect dial;
	struct resolver_query *lookup;
	uint64_t tried;	    /* bit i: server i of the pool has failed */
	unsigned tries;
	enum end_reason otherwise; /* when no server is left */
	int64_t started_ms; /* of the attempt at the present server; later by what the client took its time for */
	int64_t asked_ms;   /* the client was asked for more, and the server waits for it; 0: it does not */
	int64_t password_ms; /* PASS came */
	const struct credentials_entry *as; /* by whose name and password; NULL: his own */
	bool unknown;	    /* no route is for this user, but he does not know (unknown_user) */
	char *user_line;    /* command lines for the server; session_identity.c */
	char *pass_line;
	char *acct_line;
	bool by_certificate; /* the password is ours: the client's certificate stands for it */
	char *held;	    /* the 230, while OPTS UTF8 is repeated */
	size_t held_n;
	int64_t waited_ms;  /* in the queue: when it was joined, or the last line of text said */
	bool text_open;	    /* "331-" has been said, and no "331 " */
	int answer_code;    /* to USER, kept until PASS: since the client had been told 331 already; 0: none */
	char *answer;
	size_t answer_n;
};

/* One client's transfer: from PASV, EPSV, PORT or EPRT to the final reply. */
struct transfer {
	struct data *data;
	enum verb client_verb; /* how the client's side is made */
	enum verb server_verb; /* how the server's side is (being) made */
	unsigned methods_left; /* bits by enum method (session_arrange.c) */
	struct netaddr client_target; /* PORT, EPRT */
	struct resolver_query *lookup; /* of the address that PASV is answered with */
	int64_t securing_ms[2]; /* when the side's handshake began */
	bool prepared;	       /* both sides are arranged: a transfer command may come */
	bool running;	       /* the transfer command is sent */
	bool client_told;      /* a 1yz has been passed on */
	bool answered;	       /* the client has its final reply; the server's will be swallowed */
	bool ended;	       /* no more data will move: data_end is known */
	bool grace;	       /* an upload's data ended just now; on_grace is pending */
	bool brief_grace;      /* it is one turn of the loop */
	struct event on_grace;
	bool abor_sent;
	bool abor_by_client;   /* the client said ABOR and waits for its reply */
	enum verb verb;
	enum transfer_direction direction;
	enum data_end data_end;
	int server_code;       /* final; 0: not here yet */
	char *final;	       /* the server's final reply, held */
	size_t final_n;
	int64_t started_ms;
	uint64_t bytes;
	char path[256];
};

/* What is said of a session beside the names in its configuration. */
struct session_facts {
	struct netaddr client;
	struct netaddr server; /* AF_UNSPEC: none yet */
	char user[64];
};

struct session {
	struct session_id id;
	struct loop *loop;
	struct config *config;
	const struct listener_config *listener;
	const struct policy *policy;
	const struct pool_config *pool;	    /* of the route that applies; NULL before USER */
	size_t only_server;		    /* of the pool, or ROUTE_ANY_SERVER */
	const struct server_config *server_config;
	struct session_live *live;
	struct session *next;		    /* in the hash by id, or on the graveyard */
	struct session *older, *younger;    /* while it is young (session_young.c) */
	struct session_facts info;
	const struct server_config *last_server; /* for the log: server_config ends with the connection */
	struct slot slot;

	struct control client;
	struct control server;
	struct line_splitter lines;
	struct reply_reader replies;

	char *queue;			    /* waiting command lines; session_queue.c */
	uint32_t queue_n;
	uint32_t queue_at;
	uint32_t queue_cap;

	enum session_phase phase;
	enum logon_stage stage;
	struct logon *logon;
	struct transfer *transfer;
	char *host;			    /* HOST's argument, or the name of the SNI */
	struct port_name data_name;	    /* what its last data connection said, and rightly; see session_port_names() */
	struct tls_memory *client_tls;	    /* of its control connection, since CCC; NULL: ask that */
	char *certificate;		    /* subject of the client's verified certificate; NULL: none */

	struct clock_facts facts;
	int64_t abor_until_ms;		    /* PURPOSE_ABOR: when we stop to wait */
	int64_t client_eof_ms;		    /* client_eof: since when */
	int64_t refuse_at_ms;		    /* LOGON_REFUSED: when the 530 is due */
	int64_t clear_notify_ms;	    /* clearing: when ours is sent without the client's; 0: it was */
	int64_t quit_ms;		    /* PURPOSE_QUIT: when it was sent */
	int64_t ahead_ms;		    /* a server is held for a client that has not said USER: since when */
	struct netaddr local;		    /* our end of the client's control connection; AF_UNSPEC: not asked yet */
	struct netaddr server_local;	    /* our end of the server's */
	struct netaddr via;		    /* the balancer that spoke for the client; AF_UNSPEC: none did */
	struct netaddr reached;		    /* where, it says, the client connected to; AF_UNSPEC: `local` */
	struct proxy_reader header;

	enum purpose purpose;
	enum verb verb;			    /* of the outstanding command */
	bool header_awaited;		    /* the PROXY protocol's, in front of everything */
	bool tls_begin;			    /* 234 is to be written; then the client's handshake begins */
	bool securing;			    /* the client's handshake runs: its stream is not ours meanwhile */
	bool server_tls_begin;		    /* the server's 234 is here */
	bool server_securing;
	bool clear_begin;		    /* CCC's 200 is to be written, and close_notify behind it */
	bool clearing;			    /* CCC: the client's close_notify is waited for */
	bool clear_blocked;		    /* ours does not fit into the socket */
	bool needs_no_password;		    /* logged on by its certificate: a PASS is superfluous */
	bool pbsz;			    /* RFC 4217 section 8: PBSZ has come */
	bool prot_p;			    /* PROT P: the client's data connections are protected */
	bool server_prot;		    /* the same, towards the server */
	bool warm;			    /* the server's connection waited for us, and nothing has come on it yet */
	bool young;			    /* its connections have no keep-alive yet */
	bool early;			    /* a server is being connected before USER has come */
	bool ending;
	bool no_memory;			    /* a buffer could not grow: ends at the next settling */
	bool client_eof;
	bool server_eof;
	bool settling;
	bool drain;
	bool utf8_on;			    /* the client said OPTS UTF8 ON before logon */
	bool utf8_asked;		    /* an OPTS UTF8 ON of the client's is outstanding */
	bool epsv_all;
	bool abor_quiet;		    /* PURPOSE_ABOR: the ABOR was ours (stall_timeout) */
	bool late_abor;			    /* an ABOR's reply may still come, out of step */
	unsigned errors;
	uint16_t trail[TRAIL_MAX];	    /* last verbs and reply codes, for a desync's report */
	unsigned trail_n;
};

static inline bool session_is_over(const struct session *s)
{
	return s->ending;
}

/* session.c */

/* Tells the session table what the session's facts are now. */
void session_publish(struct session *s);

/* Queues a reply of ours for the client; the text must not hold line ends. */
void session_reply(struct session *s, int code, const char *format, ...) SP_PRINTF(3, 4);
/* The same for a text as it is; of one that is too long the beginning. */
void session_say(struct session *s, int code, const char *text);
/* Writes what is queued for the client before other work is done; session_settle() writes it otherwise. */
void session_say_now(struct session *s);
/* Queues bytes as they are. */
void session_to_client(struct session *s, struct span bytes);
/* The outstanding command is answered. */
void session_answered(struct session *s);
void session_activity(struct session *s);
/* After every happening: runs the queue, writes, sets what is watched and the next deadline. May end the session. */
void session_settle(struct session *s);
/* Whether one more handshake with a client would be too many. */
bool session_handshakes_are_full(const struct loop *loop);
/* The client's address is known: greets, or begins the handshake. */
void session_begin(struct session *s);
/* The 220. */
void session_greet(struct session *s);
/* The 221, instead of a server that does not say it; ends the session. */
void session_say_goodbye(struct session *s);

/* session_server.c */

/* The server is connected at `fd`, which is the session's from now on. */
void session_set_server(struct session *s, int fd, const struct netaddr *address);
/* Queues one command line (CRLF is added) for the server and notes what its reply is for. */
void session_to_server(struct session *s, enum purpose purpose, enum verb verb, struct span line);
/* The server has said something, or may have. May end the session. */
void session_read_server(struct session *s);
/* Tells a session (of whatever worker; none: nothing happens) that it may have the slot it waits for. */
void session_offer_slot(struct loop *loop, struct session_id id);
/* Says goodbye to the server (unless it is gone) and gives the slot back. */
void session_drop_server(struct session *s, bool gone);
/* The server's replies are out of step: reports the trail and ends the session. */
void session_desync(struct session *s, int code);

/* session_young.c */

/* The session has begun: keep-alive is turned on when it is a second old. */
void young_begin(struct session *s);
/* It is not young any more; nothing happens when it was not. */
void young_grow_up(struct session *s);
/* It ends, young or not. */
void young_end(struct session *s);
/* A server has been connected: keep-alive for it unless the session is young. */
void young_keep_server_alive(const struct session *s);

/* session_clock.c: files the session by its next deadline. */
void session_update_deadline(struct session *s);

/* session_tls.c */

/*
 * A handshake is over: what is said and counted of it. `leg`: "client", "server",
 * "client data", "server data"; secured == NULL: it failed (tls_error()).
 */
void session_tls_done(struct session *s, const char *leg, const struct stream *secured, enum event_level level);
/* Starts the handshake with the client. */
void session_secure_client(struct session *s);
/* Whether the client's control connection is protected, or was before CCC. */
bool session_was_protected(const struct session *s);
/* What its data connections are compared with; only for one that was protected. */
void session_recall_tls(const struct session *s, struct tls_memory *out);
/*
 * What the client's next data connection may say that tells it from those of
 * other sessions; 0: it may say nothing.
 */
size_t session_port_names(const struct session *s, struct port_name names[PORT_NAMES_MAX]);
void session_log_event(struct session *s, struct sp_event *event, enum event_kind kind);
/* Our end of the control connection with the client. */
const struct netaddr *session_local(struct session *s);

/* session_ccc.c */

/* The 200 is written: waits for the client's close_notify. May end the session. */
void session_clear_begin(struct session *s);
/* The client has not said close_notify in time: ours. May end the session. */
void session_clear_notify(struct session *s);
/* Something came, or can be written. May end the session. */
void session_clear_step(struct session *s);

/* session_certificate.c */

/*
 * Before the logon of this user goes on: when the client's certificate stands
 * for the password, prepares what the server will be told. False: no memory (noted).
 */
bool logon_by_certificate(struct session *s, struct span user);

/* session_proxy.c */

/* Takes what has come of the client's PROXY header; begins when it is whole. May end the session. */
void session_read_header(struct session *s);
/* The address that the client connected to: ours, or the balancer's before us. */
const struct netaddr *session_reached(struct session *s);
/* Who may connect to the client's passive port. */
struct data_peers session_data_peers(const struct session *s);
/* From where the session's server is dialled. */
struct data_source session_source(const struct session *s);
/* Writes the PROXY header for the session's server on a connection that has just been made. */
bool session_send_header(struct session *s, struct stream *stream);

/* session_warm.c */

/* The slot came with a connection, and it is alive: it is the session's now, greeted. */
bool session_take_warm(struct session *s);
/* The connection ended before anything came on it: it is dropped, its slot is kept, and the server is to be dialled. */
bool session_warm_failed(struct session *s);

/* session_queue.c: the client's command lines. */

enum queued { QUEUED_LINE, QUEUED_TOO_LONG, QUEUED_BAD };
bool queue_push(struct session *s, enum queued kind, struct span line);
/* False: it is empty. *line is valid until the next push. */
bool queue_pop(struct session *s, enum queued *kind, struct span *line);
static inline bool queue_is_empty(const struct session *s)
{
	return s->queue_at == s->queue_n;
}
void queue_free(struct session *s);
/* Bytes of the client, in writable memory. */
void session_feed(struct session *s, struct span bytes);

/* session_command.c */

/* Does what a command line asks for; nothing is outstanding at the server. */
void command_line(struct session *s, enum queued kind, struct span line);
/* A line that came while a transfer runs: true when it was dealt with at once (ABOR, STAT). */
bool command_inflight(struct session *s, struct span line);
void command_on_reply(struct session *s, const struct reply *reply);
/* Counts a refused command; ends the session when there were too many. */
void command_error(struct session *s);

/* session_logon.c */

/* What can be known before USER: policy and pool, when no user could change them. */
void logon_foresee(struct session *s);
/* Gets what a logon needs; false: no memory (noted). */
bool logon_begin(struct session *s);
void logon_user(struct session *s, struct span line, struct span name);
void logon_pass(struct session *s, struct span line);
void logon_acct(struct session *s, struct span line);
void logon_on_reply(struct session *s, const struct reply *reply);
/* Forgets look-ups, dials, places in queues, secrets. */
void logon_free(struct session *s);
/* The client waits for the end of this step; its further commands are queued. */
void logon_enter(struct session *s, enum logon_stage stage);
/* The same with a line of ours for the server. */
void logon_send_line(struct session *s, enum logon_stage stage, enum verb verb, const char *line);
void logon_emit(struct session *s, enum event_kind kind, int code, const char *text);

/* session_reach.c: a server that can be told USER */

/* The pool's ledger gives a server, or a place in the queue; the server is dialled. */
void reach_choose_server(struct session *s);
/* The queue has come to this session: as reach_choose_server. */
void reach_on_slot(struct session *s);
/* Stops what is under way: look-up, dial, place in the queue. */
void reach_cancel(struct session *s);
/* Lets the server go that was chosen before; the next USER finds one. */
void reach_give_up(struct session *s);
/* The server failed before the logon was confirmed: the next one, or the end. */
void reach_failed(struct session *s, const char *why);
/* It works, and has no room: it has not failed, but this logon goes to the next one. */
void reach_busy(struct session *s, int code);
/* The server's 234 has been read and nothing behind it: the handshake. */
void reach_secure(struct session *s);
/* The name of the server for SNI and verification. */
const char *reach_server_name(const struct session *s);
/* connect_timeout: the server's next address, or the next server. */
void reach_on_connect_clock(struct session *s);
void reach_on_greeting(struct session *s, const struct reply *reply);
void reach_on_auth_answer(struct session *s, const struct reply *reply);
void reach_on_prot_answer(struct session *s, const struct reply *reply);

/* session_identity.c: as whom the client is logged on. These return false for want of memory. */

/* "VERB argument" in place of the line before, which is wiped. False: no memory. */
bool identity_keep(char **to, const char *verb, struct span argument);
/* Makes the USER for the server: the client's line, or what the rule makes of the name. */
bool identity_take_user(struct session *s, const struct route_rule *rule, struct span line, struct span name);
bool identity_take_password(struct session *s, struct span line);
bool identity_take_account(struct session *s, struct span line);
/* Is an account known, by the client's ACCT or by the route's credentials? */
bool identity_know_account(struct session *s);
void identity_wipe(struct logon *logon);
void identity_forget_secrets(struct logon *logon);

/* Does this listener hide which users there are? */
bool identity_is_guarded(const struct session *s);
/* The 331 that everybody gets there. */
void identity_ask_password(struct session *s);
/* The logon is refused: the client hears of it when reject_delay has passed since his PASS. */
void identity_refuse(struct session *s);
void identity_say_refused(struct session *s);

/* session_memory.c: what the pool remembers */

/* The server that this user or client was at; -1: none is known. */
int memory_server(const struct session *s);
void memory_note_server(const struct session *s);
/* Has a server of the pool refused this user with this password a while ago? */
bool memory_knows_refusal(const struct session *s);
void memory_note_refusal(const struct session *s);

/* session_waiting.c: the client whose logon waits in the queue */

/* Is there text for it, and when next? 0: no. */
int64_t waiting_text_ms(const struct session *s);
void waiting_say(struct session *s);
/* Ends the reply that the text began. */
void waiting_close(struct session *s);
/* The server's answer to USER, which can only be 331 for the client now: keeps it until PASS. */
void waiting_keep_answer(struct session *s, const struct reply *reply);
void waiting_forget_answer(struct logon *logon);

/* What is known of the logon so far, for its route; no user: p == NULL. */
struct route_facts logon_facts(const struct session *s, struct span user);

/* session_feat.c */

/* Answers FEAT before logon: what every server that the session may still reach can do. */
void feat_answer(struct session *s);
/* The logon is confirmed: asks the server what it can do, if nobody has. */
void feat_ask(struct session *s);
/* The server has answered FEAT, ours or the client's. */
void feat_on_reply(struct session *s, const struct reply *reply);

/* session_rein.c */

/* Logs the client off, if it is logged on, and greets it again. */
void session_reinitialise(struct session *s);

/* session_announce.c */

/* Whether PASV can be answered at all: the client came by IPv4, and there is an address for it. */
bool announce_is_possible(struct session *s);
/* The server's side is arranged: opens the client's passive port and answers PASV or EPSV. */
void announce_passive(struct session *s);
/* Nobody waits for the address any more. */
void announce_forget(struct session *s, struct transfer *t);
/* session_ahead.c */

/* Connects to a server of that pool while the client reads its greeting. */
void logon_early(struct session *s);
/* The server that is held before USER is not any more: USER has come, or it is dropped. */
void logon_not_ahead(struct session *s);

/* session_arrange.c */

void transfer_prepare(struct session *s, const struct command *command);
void transfer_on_prepare_reply(struct session *s, const struct reply *reply);
/* A command of a transfer that cannot be: the reply, counted as an error. */
void transfer_refuse(struct session *s, int code, const char *text);

/* session_transfer.c */

/* A new transfer in place of the one before; false: no memory (noted). */
bool transfer_new(struct session *s);
/* Forgets the transfer; its connections are broken unless they were closed before. */
void transfer_discard(struct session *s);
/* The same for one that may be running: it is told of. */
void transfer_free(struct session *s);
/* Dials the server's data port now, if one is arranged and has not been dialled yet. */
void transfer_dial_server(struct session *s);
void transfer_start(struct session *s, const struct command *command, struct span line);
/* In active mode: dials the client, unless that has been done. */
void transfer_dial_client(struct session *s);
/* An upload's end is not waited for any more. */
void transfer_end_grace(struct transfer *t);

/* session_finish.c */

/* Adds what has moved since the last time to the session's and the worker's sums. */
void transfer_count_bytes(struct session *s);
/* The transfer's event, with the reply that the client gets. */
void transfer_report(struct session *s, const struct transfer_reply *reply);
/* No more data will move, and why; once. */
void transfer_data_ended(struct session *s, enum data_end end);
/* Finishes when nothing is waited for any more. */
void transfer_check(struct session *s);
void transfer_on_reply(struct session *s, const struct reply *reply);
void transfer_abor(struct session *s);
void transfer_status(struct session *s);
/* One of the transfer's clocks expired. */
void transfer_on_clock(struct session *s, enum clock_id clock);
/* Fills in the facts that depend on the transfer. */
void transfer_facts(struct session *s);
/*
 * The server is gone in mid-transfer: 426 if the client waits for a reply, or
 * `last`, a 421, if that is how it went (NULL: without a word). True: the client
 * has been told it.
 */
bool transfer_server_lost(struct session *s, const struct reply *last);

#endif
