<?php

/**
 * A conformance check that shares no code with the project. It packs the seven bytes of each header
 * itself and checks every byte that a running host with the device plugin sends.
 *
 *   php conformance.php /path/of/the.sock
 *
 * Exit code 0: every check held. 1: a check failed, and the last line on stderr names it. 2: the
 * check could not run.
 */

declare(strict_types=1);

// Versions and kinds that a peer of 1.0 and 1.1 knows (docs/protocol.md).
const VERSION_1_0 = 0x0100;
const VERSION_1_1 = 0x0101;
const SYNC = 0x01;
const HEARTBEAT = 0x02;
const ASYNC_REQUEST = 0x04;
const ASYNC_RESPONSE = 0x05;

/** Upper bound for a reply, in seconds. It is far above the delays of a busy machine. */
const TIMEOUT = 20;
/** Async requests that are in flight at the same time: more than a thousand. */
const REQUESTS = 1200;

final class Fault extends RuntimeException
{
}

/** A connection that packs and unpacks frames without the client library. */
final class Wire
{
    private Socket $socket;

    public function __construct(string $path)
    {
        $socket = socket_create(AF_UNIX, SOCK_STREAM, 0);
        if ($socket === false || !@socket_connect($socket, $path)) {
            throw new Fault('no connection: ' . socket_strerror(socket_last_error()));
        }
        socket_set_option($socket, SOL_SOCKET, SO_RCVTIMEO, ['sec' => TIMEOUT, 'usec' => 0]);
        socket_set_option($socket, SOL_SOCKET, SO_SNDTIMEO, ['sec' => TIMEOUT, 'usec' => 0]);
        $this->socket = $socket;
    }

    public static function frame(int $version, int $kind, string $payload = ''): string
    {
        return pack('n', $version) . pack('C', $kind) . pack('N', strlen($payload)) . $payload;
    }

    public function write(string $bytes): void
    {
        for ($sent = 0; $sent < strlen($bytes); $sent += $wrote) {
            $wrote = @socket_write($this->socket, substr($bytes, $sent));
            if ($wrote === false) {
                throw new Fault('not sent: ' . socket_strerror(socket_last_error($this->socket)));
            }
        }
    }

    /** Returns the next frame as version, kind and payload. */
    public function read(): array
    {
        $header = unpack('nversion/Ckind/Nlength', $this->exactly(7));

        return [$header['version'], $header['kind'], $this->exactly($header['length'])];
    }

    /** Shuts down the sending direction. */
    public function endWriting(): void
    {
        if (!socket_shutdown($this->socket, 1)) {
            throw new Fault('no half-close: ' . socket_strerror(socket_last_error($this->socket)));
        }
    }

    public function expectEnd(): void
    {
        $more = @socket_read($this->socket, 1);
        same('', $more, 'the end of the stream after the last reply');
    }

    private function exactly(int $length): string
    {
        $bytes = '';
        while (strlen($bytes) < $length) {
            $part = @socket_read($this->socket, $length - strlen($bytes));
            if ($part === false) {
                $why = socket_strerror(socket_last_error($this->socket));
                throw new Fault(sprintf('%d of %d bytes were received, then: %s', strlen($bytes), $length, $why));
            }
            if ($part === '') {
                throw new Fault(sprintf('%d of %d bytes were received, then the end', strlen($bytes), $length));
            }
            $bytes .= $part;
        }

        return $bytes;
    }
}

$checked = 0;

/** Fails unless the received value is identical to the expected one. */
function same(mixed $expected, mixed $received, string $what): void
{
    global $checked;
    if ($expected !== $received) {
        $show = static fn (mixed $value): string => substr((string) json_encode($value), 0, 300);
        throw new Fault("$what: expected {$show($expected)}, received {$show($received)}");
    }
    $checked++;
}

/** Parses a reply and checks its envelope: the id, if expected, and either a result or an error. */
function document(string $payload, ?string $id, string $what): array
{
    $reply = json_decode($payload, true, 512, JSON_THROW_ON_ERROR);
    same($id, $reply['id'] ?? null, "$what: the id");
    $wanted = [array_key_exists('error', $reply) ? 'error' : 'result'];
    if ($id !== null) {
        $wanted[] = 'id';
    }
    $members = array_keys($reply);
    sort($wanted);
    sort($members);
    same($wanted, $members, "$what: its members");

    return $reply;
}

/** Sends a sync request (version 1.0, kind 01, no id) and returns its reply. */
function sendAndReceive(Wire $wire, array $message, string $what): array
{
    $wire->write(Wire::frame(VERSION_1_0, SYNC, json_encode($message, JSON_THROW_ON_ERROR)));

    return syncReply($wire, $what);
}

function syncReply(Wire $wire, string $what): array
{
    [$version, $kind, $payload] = $wire->read();
    same([VERSION_1_0, SYNC], [$version, $kind], "$what: version and kind");

    return document($payload, null, $what);
}

/** Returns an async request (version 1.1, kind 04, an id of 32 hex digits) and its id. */
function asyncFrame(string $method, mixed $params): array
{
    $id = bin2hex(random_bytes(16));
    $message = ['id' => $id, 'method' => $method, 'params' => $params, 'timestamp' => time()];

    return [Wire::frame(VERSION_1_1, ASYNC_REQUEST, json_encode($message, JSON_THROW_ON_ERROR)), $id];
}

function asyncReply(Wire $wire, string $what): array
{
    [$version, $kind, $payload] = $wire->read();
    same([VERSION_1_1, ASYNC_RESPONSE], [$version, $kind], "$what: version and kind");
    $id = json_decode($payload, true, 512, JSON_THROW_ON_ERROR)['id'] ?? null;

    return [$id, document($payload, $id, $what)];
}

function update(string $device, string $status): array
{
    return ['method' => 'device.status.update', 'params' => ['deviceId' => $device, 'status' => $status]];
}

$scenes = [
    'heartbeats' => static function (Wire $wire): void {
        $wire->write(str_repeat(Wire::frame(VERSION_1_0, HEARTBEAT), 3) . Wire::frame(VERSION_1_1, HEARTBEAT));
        foreach ([VERSION_1_0, VERSION_1_0, VERSION_1_0, VERSION_1_1] as $version) {
            same([$version, HEARTBEAT, ''], $wire->read(), 'the answer to a heartbeat');
        }
    },
    'a sync request' => static function (Wire $wire): void {
        $first = sendAndReceive($wire, update('php_sync', 'online'), 'the first update')['result'];
        same(['deviceId' => 'php_sync', 'status' => 'online', 'sequence' => 1], $first, 'the first update');
        $second = sendAndReceive($wire, update('php_sync', 'busy'), 'the second update')['result'];
        same(['deviceId' => 'php_sync', 'status' => 'busy', 'sequence' => 2, 'previous' => 'online'], $second, 'the second update');
        $get = ['method' => 'device.status.get', 'params' => ['deviceId' => 'php_sync', 'history' => true]];
        $found = sendAndReceive($wire, $get, 'the updated device')['result'];
        same(['online', 'busy'], array_column($found['history'], 'status'), 'the history');
        same(['busy', 2], [$found['status'], $found['sequence']], 'the latest update');
    },
    'a socket from the pool' => static function (Wire $wire): void {
        // A pool that checks its connections with a heartbeat leaves the answer in the stream.
        $wire->write(Wire::frame(VERSION_1_0, HEARTBEAT));
        $wire->write(Wire::frame(VERSION_1_0, SYNC, json_encode(update('php_pool', 'online'))));
        $kinds = [];
        for ($frame = 0; $frame < 2; $frame++) {
            [$version, $kinds[], $payload] = $wire->read();
            same(VERSION_1_0, $version, 'the version of a frame on a pooled socket');
        }
        sort($kinds);
        same([SYNC, HEARTBEAT], $kinds, 'the kinds of the frames on a pooled socket');
    },
    'errors' => static function (Wire $wire): void {
        $error = sendAndReceive($wire, update('php_error', 'asleep'), 'invalid params')['error'];
        same([-32602, 'status'], [$error['code'], $error['data']['field']], 'invalid params');
        $error = sendAndReceive($wire, ['method' => 'device.status.forget'], 'an unknown method')['error'];
        same(-32601, $error['code'], 'an unknown method');
        $error = sendAndReceive($wire, ['method' => 'device.status.get', 'params' => ['deviceId' => 'nobody']], 'a plugin error')['error'];
        same(404, $error['code'], "a plugin's own error");
        $wire->write(Wire::frame(VERSION_1_0, SYNC, '{"method": "device.list"'));
        same(-32700, syncReply($wire, 'half a document')['error']['code'], 'half a document');
        [$frame, $id] = asyncFrame('device.status.update', ['deviceId' => 'php_error']);
        $wire->write($frame);
        [$of, $reply] = asyncReply($wire, 'an async error');
        same([$id, -32602, 'status'], [$of, $reply['error']['code'], $reply['error']['data']['field']], 'an async error');
        same('online', sendAndReceive($wire, update('php_error', 'online'), 'after errors')['result']['status'], 'after errors');
    },
    'PHP\'s way of writing JSON' => static function (Wire $wire): void {
        // json_encode escapes slashes and everything beyond ASCII. The reply must have the same
        // meaning.
        $device = "Gerät/№ 7 \u{1F600}";
        same($device, sendAndReceive($wire, update($device, 'online'), 'a name')['result']['deviceId'], 'a name');
        $params = ['text' => str_repeat("ü\n\"\\", 100_000), 'empty' => new stdClass(), 'list' => [], 'float' => 0.1];
        $echoed = sendAndReceive($wire, ['method' => 'system.echo', 'params' => $params], 'a long echo')['result'];
        same($params['text'], $echoed['text'], 'a text of 500,000 bytes');
        same([[], [], 0.1], [$echoed['empty'], $echoed['list'], $echoed['float']], 'small values');
        // PHP encodes an array without keys as `[]`. A method without required params must accept
        // it.
        same(true, isset(sendAndReceive($wire, ['method' => 'device.list', 'params' => []], '[] as params')['result']['total']), '[] as params');
    },
    'a request in pieces, and several in one' => static function (Wire $wire): void {
        foreach (str_split(Wire::frame(VERSION_1_0, SYNC, json_encode(update('php_pieces', 'online')))) as $byte) {
            $wire->write($byte);
        }
        same(1, syncReply($wire, 'byte by byte')['result']['sequence'], 'byte by byte');
        $burst = '';
        foreach (['busy', 'error', 'offline'] as $status) {
            $burst .= Wire::frame(VERSION_1_0, SYNC, json_encode(update('php_pieces', $status)));
        }
        $wire->write($burst);
        foreach (['busy' => 2, 'error' => 3, 'offline' => 4] as $status => $sequence) {
            $result = syncReply($wire, 'one of a burst')['result'];
            same([$status, $sequence], [$result['status'], $result['sequence']], 'sync replies come in order');
        }
    },
    'an async request is overtaken' => static function (Wire $wire): void {
        [$report, $reportId] = asyncFrame('device.report', ['deviceId' => 'php_async', 'withinMs' => TIMEOUT * 1000]);
        $wire->write($report);
        // The report waits for the next update. Sync and async requests overtake it.
        same('pong', sendAndReceive($wire, ['method' => 'system.ping'], 'a ping past a report')['result'], 'a ping past a report');
        // An async method starts at any time, possibly after an update that was sent after it. So
        // updates are repeated until the report receives one.
        for ($answered = []; !isset($answered[$reportId]);) {
            [$frame, $updateId] = asyncFrame('device.status.update', ['deviceId' => 'php_async', 'status' => 'busy']);
            $wire->write($frame);
            while (!isset($answered[$updateId])) {
                [$id, $document] = asyncReply($wire, 'a report and its update');
                same(true, $id === $reportId || $id === $updateId, 'the id of a reply');
                same(false, isset($answered[$id]), 'one reply per request');
                $answered[$id] = true;
                same('busy', $document['result']['status'] ?? null, 'the report contains the update');
            }
        }
    },
    'many async requests at once' => static function (Wire $wire): void {
        $frames = '';
        $waiting = [];
        for ($number = 0; $number < REQUESTS; $number++) {
            [$frame, $id] = asyncFrame('system.echo', ['number' => $number]);
            $frames .= $frame;
            $waiting[$id] = $number;
        }
        $wire->write($frames);
        for ($reply = 0; $reply < REQUESTS; $reply++) {
            [$id, $document] = asyncReply($wire, 'one of many');
            same(true, isset($waiting[$id]), "one of many: an id of a pending request ($id)");
            same($waiting[$id], $document['result']['number'] ?? null, 'one of many: its own result');
            unset($waiting[$id]);
        }
        same([], $waiting, 'no request is pending');
    },
    'the end' => static function (Wire $wire): void {
        $wire->write(Wire::frame(VERSION_1_0, SYNC, json_encode(update('php_end', 'offline'))));
        $wire->endWriting();
        same('offline', syncReply($wire, 'after a half-close')['result']['status'], 'after a half-close');
        $wire->expectEnd();
    },
];

if (!function_exists('socket_create')) {
    fwrite(STDERR, "conformance: PHP has no sockets extension: install php-sockets, or a php-cli with that extension\n");
    exit(2);
}
if ($argc !== 2) {
    fwrite(STDERR, "conformance: usage: php conformance.php SOCKET\n");
    exit(2);
}
$scene = 'connecting';
try {
    // All scenes share one connection, as in a pool, so that data that one scene leaves behind
    // fails the next one.
    $wire = new Wire($argv[1]);
    foreach ($scenes as $scene => $play) {
        $play($wire);
        echo "conformance: $scene: held\n";
    }
} catch (Fault | JsonException $fault) {
    fwrite(STDERR, "conformance: FAULT: $scene: {$fault->getMessage()}\n");
    exit(1);
}
echo "conformance: all held, $checked checks\n";
