// Types of the JavaScript SDK of Pombal, after openapi.yaml.

/** A point in time in UTC with three decimals: `2026-02-03T12:00:00.000Z`. */
export type Timestamp = string;

/** The state of an instance in lists and on the instance itself. */
export type InstanceStatus = 'connected' | 'disconnected' | 'connecting';

/** What can be reported to a webhook. */
export type WebhookEvent =
  | 'message.received'
  | 'message.sent'
  | 'message.delivered'
  | 'message.read'
  | 'message.failed'
  | 'instance.connected'
  | 'instance.disconnected'
  | 'instance.qr_updated';

/** How an instance behaves. */
export interface InstanceSettings {
  /** Mark incoming messages as read. */
  autoRead: boolean;
  /** Show "typing…" before a message is sent. */
  autoTyping: boolean;
}

/** Why an instance is not connected. */
export interface StatusReason {
  /** For programs. More codes may be added. */
  code: string;
  /** What happened, for people. */
  message: string;
  /** What to do about it, for people. */
  action: string;
}

/** One WhatsApp number, or the place for one. Every field is always present; unset is `null`. */
export interface Instance {
  /** `inst_…` */
  id: string;
  /** The account it belongs to. Present only in lists over all child accounts of a partner. */
  accountId?: string | undefined;
  name: string;
  /** Digits only, `null` while no number is paired. */
  phone: string | null;
  status: InstanceStatus;
  profileName: string | null;
  profilePicUrl: string | null;
  createdAt: Timestamp;
  /** `null` until the instance has been online once. */
  lastSeenAt: Timestamp | null;
  /** The address that gets its events. */
  webhookUrl: string | null;
  /** Which events `webhookUrl` gets. */
  webhookEvents: WebhookEvent[];
  settings: InstanceSettings;
  updatedAt: Timestamp;
  /** Since when it is connected, `null` when it is not. */
  connectedAt: Timestamp | null;
  /** `web`: a linked device of a phone. `cloud`: Meta's official Cloud API. */
  integration: 'web' | 'cloud';
  /** Why it is not connected; `null` when it is, or when there is nothing to say. */
  statusReason: StatusReason | null;
  /** Your own reference, unique in the account. */
  externalId: string | null;
}

/** The live state of an instance. */
export interface InstanceStatusReport {
  id: string;
  name: string;
  status: InstanceStatus | 'qr_pending';
  phone: string | null;
  profileName: string | null;
  profilePicUrl: string | null;
  /** A `data:image/png;base64,` URL while the status is `qr_pending`. */
  qrCode: string | null;
  qrCodeExpiresAt: Timestamp | null;
  lastSeenAt: Timestamp | null;
  connectedAt: Timestamp | null;
  statusReason: StatusReason | null;
  /** Counts since 00:00 UTC. */
  stats: {
    messagesSent: number;
    messagesReceived: number;
    activeChats: number;
    unreadMessages: number;
  };
  health: {
    /** Seconds since the instance was connected; 0 when it is not. */
    uptime: number;
    /** Milliseconds of the last round trip to WhatsApp's server. */
    latency: number | null;
    /** The part of the last 24 hours' messages that was delivered, 0 to 1; `null` when none was sent. */
    messageDeliveryRate: number | null;
  };
}

/** How to connect an instance. `pairing_code` needs `phone`: digits, with the country's code. */
export interface ConnectInstance {
  method?: 'qrcode' | 'pairing_code';
  phone?: string;
}

/** The code that waits for a phone, or the connection. */
export interface ConnectResult {
  success: true;
  status: InstanceStatus | 'qr_pending';
  /** A `data:image/png;base64,` URL. */
  qrCode: string | null;
  /** Until when the code, of either kind, can be used. */
  qrCodeExpiresAt: Timestamp | null;
  /** The text of the QR code, for those who draw it themselves. */
  qrText: string | null;
  /** The code to type on the phone. */
  pairingCode: string | null;
}

/** The code that waits for a phone. All but `status` are `null` while there is none. */
export interface QRCode {
  qrCode: string | null;
  expiresAt: Timestamp | null;
  status: InstanceStatus | 'qr_pending';
  qrText: string | null;
  pairingCode: string | null;
}

/** Which instances to list. A property that is `undefined` or `null` is left out. */
export interface ListInstancesParams {
  /** Default `all`. */
  status?: InstanceStatus | 'all' | null;
  /** Instances per page, 1 to 100. Default 50. */
  limit?: number | null;
  /** Instances to skip. Not together with `cursor`. Default 0. */
  offset?: number | null;
  /** Part of the name or of the phone number, in any case. */
  search?: string | null;
  /** Only the instance with this reference of yours. */
  externalId?: string | null;
  /** The `nextCursor` of the page before. */
  cursor?: string | null;
}

/** A new instance. */
export interface CreateInstance {
  /** 1 to 100 characters; need not be unique. */
  name: string;
  /** A public http or https address that gets the events of this instance. */
  webhookUrl?: string | null;
  /** Default: all events. */
  webhookEvents?: WebhookEvent[];
  /** Default: `autoRead` false, `autoTyping` true. */
  settings?: Partial<InstanceSettings>;
  /** Your own reference, unique in the account. */
  externalId?: string | null;
  /** Default `web`; it cannot be changed later. */
  integration?: 'web' | 'cloud';
}

/** What to change of an instance; absent fields stay, also inside `settings`. */
export interface UpdateInstance {
  name?: string;
  /** `null` clears it. */
  webhookUrl?: string | null;
  /** Replaced as a whole. */
  webhookEvents?: WebhookEvent[];
  settings?: Partial<InstanceSettings>;
  /** `null` clears it. */
  externalId?: string | null;
}

/** Where a page is in the whole list. */
export interface Pagination {
  /** How many objects the filters match, on all pages together. */
  total: number;
  limit: number;
  /** 0 when the page was asked for by cursor. */
  offset: number;
  hasMore: boolean;
  /** The `cursor` of the next page; `null` on the last one. */
  nextCursor: string | null;
}

/** One page of a list. Iterating it with `for await` yields its items and those of all later pages. */
export interface Page<T> extends AsyncIterable<T> {
  success: true;
  data: T[];
  pagination: Pagination;
}

/**
 * What a list call returns. `await` it for one page, or iterate it with `for await` to get every
 * item of every page. The request is sent when it is first awaited or iterated.
 */
export interface PagePromise<T> extends Promise<Page<T>>, AsyncIterable<T> {}

/** What can happen: to a message or an instance, or to a webhook. */
export type EventType = WebhookEvent | 'webhook.failing' | 'webhook.disabled';

/** Something that happened. */
export interface Event {
  /** `evt_…` */
  id: string;
  event: EventType;
  timestamp: Timestamp;
  accountId: string;
  /** To which instance it happened; `null` for events of the account. */
  instanceId: string | null;
  /** Counts the events of the instance without gaps; `null` for events of the account. */
  sequence: number | null;
  /** What is known about it; its fields depend on the type, and more may be added. */
  data: Record<string, any>;
}

/** Which events to list. A property that is `undefined` or `null` is left out. */
export interface ListEventsParams {
  /** The id of the last event that you have. Default: begin with the oldest. */
  after?: string | null;
  /** Only these types. Default: all. */
  types?: EventType[] | string | null;
  /** Only those of this instance. */
  instanceId?: string | null;
  /** Events per page, 1 to 500. Default 100. */
  limit?: number | null;
}

/** Which events to follow. */
export interface StreamEventsParams {
  /** The id of the last event that you have. Default: begin with what happens from now on. */
  after?: string | null;
  /** Only these types. Default: all. */
  types?: EventType[] | string | null;
  /** Only those of this instance. */
  instanceId?: string | null;
}

/** What may be said about a stream. */
export interface StreamOptions {
  /** Ends the stream, which then throws the signal's reason. */
  signal?: AbortSignal | undefined;
  /** More headers. They replace the SDK's own of the same name. */
  headers?: Headers | Record<string, string> | Iterable<[string, string]> | undefined;
}

/** An endpoint that gets events. */
export interface Webhook {
  /** `wh_…` */
  id: string;
  name: string | null;
  url: string;
  /** Whose events it gets; `null` for those of all instances. */
  instanceId: string | null;
  events: EventType[];
  status: 'active' | 'disabled';
  /** `by_owner`, `gone` (the receiver answered 410) or `failing` (for five days); `null` while it is active. */
  disabledReason: string | null;
  timeoutSeconds: number;
  /** Whether it is an instance's own `webhookUrl`, and changes with it. */
  ofInstance: boolean;
  /** Since when every attempt has failed. */
  failingSince: Timestamp | null;
  createdAt: Timestamp;
  updatedAt: Timestamp;
}

/** A webhook with its secret, which is shown this once. */
export interface WebhookWithSecret extends Webhook {
  secret: string;
}

/** A new webhook. */
export interface CreateWebhook {
  name?: string | null;
  /** A public http or https address. */
  url: string;
  /** Default: the events of all instances. */
  instanceId?: string | null;
  events: EventType[];
  /** 16 to 255 visible ASCII characters. Default: one is made. */
  secret?: string;
  /** How long the receiver may take, 5 to 30. Default 5. */
  timeoutSeconds?: number;
}

/** All that can be set of a webhook; what is absent becomes the default. */
export interface ReplaceWebhook extends Omit<CreateWebhook, 'secret'> {
  /** Default `active`. */
  status?: 'active' | 'disabled';
}

/** What to change of a webhook; absent fields stay. `null` clears `name` and `instanceId`. */
export type UpdateWebhook = Partial<ReplaceWebhook>;

/** What became of a test event. A receiver that fails is no error of the call. */
export interface WebhookTestResult {
  status: 'success' | 'failed';
  statusCode: number | null;
  /** Milliseconds. */
  responseTime: number;
  error: string | null;
  payload: Event;
}

/** One event for one webhook. */
export interface WebhookLog {
  /** `log_…` */
  id: string;
  event: EventType;
  eventId: string;
  instanceId: string | null;
  /** The result of the latest attempt. */
  status: 'success' | 'failed' | 'pending';
  state: 'waiting' | 'delivered' | 'exhausted';
  statusCode: number | null;
  /** Milliseconds. */
  responseTime: number | null;
  /** For people. */
  error: string | null;
  /** The same for programs. */
  failure: string | null;
  /** How many attempts followed the first. */
  retryCount: number;
  nextRetryAt: Timestamp | null;
  timestamp: Timestamp;
}

/** One HTTP request of a delivery. */
export interface WebhookAttempt {
  /** 1 is the first. */
  number: number;
  timestamp: Timestamp;
  statusCode: number | null;
  /** Milliseconds. */
  responseTime: number;
  error: string | null;
  failure: string | null;
  /** The beginning of the answer, at most 16 KiB. */
  response: string | null;
  /** Whether somebody asked for it. */
  manual: boolean;
}

/** A delivery with its event and all its attempts, oldest first. */
export interface WebhookLogDetail extends WebhookLog {
  payload: Event;
  attempts: WebhookAttempt[];
}

/** Which deliveries to list. */
export interface ListWebhookLogsParams {
  status?: 'success' | 'failed' | 'waiting' | 'exhausted' | null;
  eventId?: string | null;
  /** Deliveries per page, 1 to 100. Default 50. */
  limit?: number | null;
  cursor?: string | null;
}

/** Which page of a plain list. */
export interface ListParams {
  /** Items per page, 1 to 100. Default 50. */
  limit?: number | null;
  /** Items to skip. Not together with `cursor`. Default 0. */
  offset?: number | null;
  /** The `nextCursor` of the page before. */
  cursor?: string | null;
}

/** A URL through which another program sends messages from an instance without a key. */
export interface InboundWebhook {
  /** `whin_…` */
  id: string;
  name: string;
  instanceId: string;
  /** The last four characters of its token. */
  lastFour: string;
  createdAt: Timestamp;
}

/** An inbound webhook with its URL, which is shown this once. Sending through it is not available yet. */
export interface InboundWebhookWithUrl extends InboundWebhook {
  url: string;
}

/** Where a page is in a list without a known end. */
export interface CursorPagination {
  /** Whether there is more behind this page now. */
  hasMore: boolean;
  /** What to ask for the page behind this one with. */
  nextCursor: string | null;
}

/** A page of a list without a known end. Iterating it with `for await` yields its items and those of all later pages. */
export interface CursorPage<T> extends AsyncIterable<T> {
  success: true;
  data: T[];
  pagination: CursorPagination;
}

/** Like `PagePromise`, for a list without a known end. */
export interface CursorPagePromise<T> extends Promise<CursorPage<T>>, AsyncIterable<T> {}

/** The answer of a call that leaves nothing to return. */
export interface Acknowledgement {
  success: true;
  message: string;
}

/** What may be said about one call. */
export interface RequestOptions {
  /** Ends the call, and the wait before a retry. The call then rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
  /** Milliseconds that each attempt may take. Default: the client's. `Infinity` waits for ever. */
  timeout?: number | undefined;
  /** More headers, such as `If-Match`. They replace the SDK's own of the same name. */
  headers?: Headers | Record<string, string> | Iterable<[string, string]> | undefined;
}

/** What may be said about a call that creates something. */
export interface CreateOptions extends RequestOptions {
  /**
   * Makes the call safe to repeat, also by another process: within 24 hours the same key gets the
   * first answer again. 1 to 255 visible ASCII characters. Default: a new random key for each call, the
   * same over its retries.
   */
  idempotencyKey?: string | undefined;
}

export interface ClientOptions {
  /**
   * An API key, or in a browser a token made from one. Default: the environment's `POMBAL_API_KEY`, then
   * `ENVIAAI_API_KEY`.
   */
  apiKey?: string | undefined;
  /**
   * The address of the server, with or without `/v1`. Default: the environment's `POMBAL_BASE_URL`, in a
   * browser the origin of the page, else `http://127.0.0.1:8080`.
   */
  baseUrl?: string | undefined;
  /** Partners: the child account to act on, `acct_…`, or `*` to list across all of them. */
  accountId?: string | undefined;
  /** Milliseconds that each attempt of a call may take. Default 30000. `Infinity` waits for ever. */
  timeout?: number | undefined;
  /** How often a call is repeated after a failure that may pass. Default 2; 0 never repeats. */
  maxRetries?: number | undefined;
  /** What to send requests with. Default: the platform's `fetch`. */
  fetch?: typeof globalThis.fetch | undefined;
}

/** The calls under `/v1/instances`. Each rejects with an `EnviaAIError` when it fails. */
export interface Instances {
  /** One page of the account's instances, oldest first, or with `for await` all of them. */
  list(params?: ListInstancesParams, options?: RequestOptions): PagePromise<Instance>;
  get(id: string, options?: RequestOptions): Promise<Instance>;
  create(body: CreateInstance, options?: CreateOptions): Promise<Instance>;
  update(id: string, body: UpdateInstance, options?: RequestOptions): Promise<Instance>;
  /**
   * Deletes the instance in whatever state it is. When the answer to a first attempt was lost, the
   * repetition can reject with `instance_not_found`: then it is gone too.
   */
  delete(id: string, options?: RequestOptions): Promise<Acknowledgement>;
  /** The live state: connection, today's counts, health. */
  status(id: string, options?: RequestOptions): Promise<InstanceStatusReport>;
  /**
   * Pairs the instance with a phone, or opens the connection of one that is paired. Resolves with the
   * first code to show; then ask `getQRCode` or `status` until the status is `connected`.
   */
  connect(id: string, body?: ConnectInstance, options?: RequestOptions): Promise<ConnectResult>;
  /** The code that waits for a phone. Rejects with `already_connected` once the instance is connected. */
  getQRCode(id: string, options?: RequestOptions): Promise<QRCode>;
  /** Logs the instance out and forgets its pairing. Rejects with `instance_not_connected` when there is none. */
  disconnect(id: string, body?: { reason?: string }, options?: RequestOptions): Promise<Acknowledgement>;
  /** Drops the connection and opens it again with the same pairing. */
  restart(id: string, options?: RequestOptions): Promise<Acknowledgement>;
  /** The proxy of the connection, its password hidden; `url` is `null` without one. */
  getProxy(id: string, options?: RequestOptions): Promise<{ url: string | null }>;
  /** Sends the connection through a proxy: `http://`, `https://` or `socks5://`. */
  setProxy(id: string, body: { url: string }, options?: RequestOptions): Promise<{ url: string | null }>;
  /** Makes the connection direct. */
  removeProxy(id: string, options?: RequestOptions): Promise<Acknowledgement>;
}

/** The calls under `/v1/webhooks`. Each rejects with an `EnviaAIError` when it fails. */
export interface Webhooks {
  /** One page of the account's webhooks, oldest first, or with `for await` all of them. */
  list(params?: ListParams, options?: RequestOptions): PagePromise<Webhook>;
  get(id: string, options?: RequestOptions): Promise<Webhook>;
  /** The secret, which `verifyWebhook` needs, is in the result and nowhere else. */
  create(body: CreateWebhook, options?: CreateOptions): Promise<WebhookWithSecret>;
  update(id: string, body: UpdateWebhook, options?: RequestOptions): Promise<Webhook>;
  replace(id: string, body: ReplaceWebhook, options?: RequestOptions): Promise<Webhook>;
  delete(id: string, options?: RequestOptions): Promise<Acknowledgement>;
  /** A new secret. The old one signs beside it for `overlapSeconds`, by default a day, in `webhook-signature`. */
  rotateSecret(id: string, body?: { secret?: string; overlapSeconds?: number }, options?: CreateOptions): Promise<WebhookWithSecret>;
  /** Sends the receiver a made-up event at once; by default a received message. */
  test(id: string, body?: { event?: EventType }, options?: RequestOptions): Promise<WebhookTestResult>;
  /** One page of the deliveries, newest first, or with `for await` all of them. */
  getLogs(id: string, params?: ListWebhookLogsParams, options?: RequestOptions): CursorPagePromise<WebhookLog>;
  getLog(id: string, logId: string, options?: RequestOptions): Promise<WebhookLogDetail>;
  /** Delivers an event again, whatever became of it before. */
  replayLog(id: string, logId: string, options?: RequestOptions): Promise<{ replayed: number }>;
  /** Delivers all events since a time again whose latest attempt failed. */
  replay(id: string, body: { since: Timestamp | Date }, options?: RequestOptions): Promise<{ replayed: number }>;
  createInbound(body: { name: string; instanceId: string }, options?: CreateOptions): Promise<InboundWebhookWithUrl>;
  listInbound(params?: ListParams, options?: RequestOptions): PagePromise<InboundWebhook>;
  deleteInbound(id: string, options?: RequestOptions): Promise<Acknowledgement>;
}

/** The calls under `/v1/events`. */
export interface Events {
  /**
   * One page of events, oldest first, or with `for await` all that have happened until now. With filters a page may
   * hold few events, or none, while `pagination.hasMore` is true.
   */
  list(params?: ListEventsParams, options?: RequestOptions): CursorPagePromise<Event>;
  /**
   * Events as they happen, for `for await`. It connects again by itself, behind the last event, when the
   * connection breaks, is silent for 45 seconds or is ended by the server. It throws an error that would
   * not pass, such as one with status 401, 403 or 404; and, before the first connection stands, one that
   * did not pass within `maxRetries`.
   */
  stream(params?: StreamEventsParams, options?: StreamOptions): AsyncGenerator<Event, void, void>;
}

/** A request that says it is a webhook. */
export interface SignedWebhook {
  /** The body as it came. A parsed one works too: it is then what `JSON.stringify` makes of it. */
  payload: string | ArrayBuffer | ArrayBufferView | Record<string, unknown>;
  /** All headers of the request. */
  headers: Headers | Record<string, string | string[] | undefined>;
  /** As it was shown when the webhook was created, or in its `whsec_` form. */
  secret?: string | string[] | undefined;
  /** During a rotation: the new and the old one. */
  secrets?: string[] | undefined;
}

/**
 * Resolves with the event when the request was sent by the owner of one of the secrets. Otherwise it rejects
 * with an `EnviaAIError` of the code `webhook_unsigned`, `webhook_signature`, `webhook_time` (not within
 * five minutes of now) or `webhook_secret` (no given text can be a secret).
 *
 * It checks the three headers of Standard Webhooks. Only when there is none of them, it checks
 * `X-EnviaAI-Signature`, which covers the body alone: whoever has once seen such a request can send it again at
 * any time. In either case drop events whose id you have already dealt with.
 */
export function verifyWebhook(webhook: SignedWebhook): Promise<Event>;

/** The API client. Make one per process and share it. */
export class EnviaAI {
  /** Throws an `EnviaAIError` when an option cannot be right, such as a missing key. */
  constructor(options?: ClientOptions);
  readonly instances: Instances;
  readonly webhooks: Webhooks;
  readonly events: Events;
}

/** One field of a request that was refused. */
export interface ErrorDetail {
  /** As in the request: `limit`, `settings.autoRead`. */
  field: string;
  /** Which rule was broken: `out_of_range`, `unknown`, `required`, … */
  code: string;
  /** What to send instead. */
  message: string;
}

/**
 * Every failure of a call. An abort by the caller's own signal is none: it rejects with the signal's reason.
 */
export class EnviaAIError extends Error {
  constructor(message: string, fields: {
    code: string;
    status?: number;
    requestId?: string;
    retryAfter?: number;
    details?: ErrorDetail[];
    docUrl?: string;
    cause?: unknown;
  });
  readonly name: 'EnviaAIError';
  /**
   * The API's code, such as `instance_not_found`, or one of the SDK's own: `network_error`, `timeout`,
   * `unexpected_response` (the answer is not this API's), and `invalid_parameters`, `missing_api_key` or
   * `invalid_api_key` with status 0 for mistakes that were found before anything was sent.
   */
  readonly code: string;
  /** The HTTP status; 0 when there was no answer. */
  readonly status: number;
  /** Quote it to support. */
  readonly requestId: string | undefined;
  /** Seconds after which trying again makes sense. */
  readonly retryAfter: number | undefined;
  /** The fields that were refused; empty when the failure is not about fields. */
  readonly details: ErrorDetail[];
  /** A page about this error. */
  readonly docUrl: string | undefined;
  /** What the platform reported, on `network_error` and `timeout`. */
  readonly cause?: unknown;
}

export { EnviaAI as Pombal, EnviaAIError as PombalError };
export default EnviaAI;
