<?php

/**
 * A witness: a PHP process that shares no code with the project, packs the seven bytes of each header by hand as the
 * user's UnixSocketReader does, and checks every byte that comes back from a running host with the device plugin.
 *
 *   php witness.php /path/of/the.sock
 *
 * Exit 0: every check held. Exit 1: one did not, and the last line on stderr says which. Exit 2: it could not be run.
 */

declare(strict_types=1);

// From the user's design, section 2.1: what a peer of 1.0 and 1.1 knows, and all it knows.
const VERSION_1_0 = 0x0100;
const VERSION_1_1 = 0x0101;
const SYNC = 0x01;
const HEARTBEAT = 0x02;
const ASYNC_REQUEST = 0x04;
const ASYNC_RESPONSE = 0x05;

/** The longest wait for bytes that are owed, in seconds: far above what a loaded machine needs. */
const PATIENCE = 20;
/** How many async requests are in flight at once: the user's integration test asks for more than a thousand. */
const AT_ONCE = 1200;

final class Fault extends RuntimeException
{
}

/** One connection, its frames packed and unpacked by hand. */
final class Wire
{
    private Socket $socket;

    public function __construct(string $path)
    {
        $socket = socket_create(AF_UNIX, SOCK_STREAM, 0);
        if ($socket === false || !@socket_connect($socket, $path)) {
            throw new Fault('no connection: ' . socket_strerror(socket_last_error()));
        }
        socket_set_option($socket, SOL_SOCKET, SO_RCVTIMEO, ['sec' => PATIENCE, 'usec' => 0]);
        socket_set_option($socket, SOL_SOCKET, SO_SNDTIMEO, ['sec' => PATIENCE, 'usec' => 0]);
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

    /** The next frame: version, kind, payload. */
    public function read(): array
    {
        $header = unpack('nversion/Ckind/Nlength', $this->exactly(7));

        return [$header['version'], $header['kind'], $this->exactly($header['length'])];
    }

    /** Ends the writing side, as a client does that has said all it had to. */
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
                throw new Fault(sprintf('%d of %d bytes came, then: %s', strlen($bytes), $length, $why));
            }
            if ($part === '') {
                throw new Fault(sprintf('%d of %d bytes came, then the end', strlen($bytes), $length));
            }
            $bytes .= $part;
        }

        return $bytes;
    }
}

$checked = 0;

/** Fails unless what came is exactly what had to come. */
function same(mixed $expected, mixed $came, string $what): void
{
    global $checked;
    if ($expected !== $came) {
        $show = static fn (mixed $value): string => substr((string) json_encode($value), 0, 300);
        throw new Fault("$what: expected {$show($expected)}, came {$show($came)}");
    }
    $checked++;
}

/** A reply's document, its envelope checked: the id that was asked for or none, and either a result or an error. */
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

/** As UnixSocketReader::sendAndReceive: version 1.0, kind 01, no id. */
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

/** As UnixSocketReader::sendAsync: version 1.1, kind 04, an id of 32 hex digits; gives back the frame and the id. */
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
        $found = sendAndReceive($wire, $get, 'what was updated')['result'];
        same(['online', 'busy'], array_column($found['history'], 'status'), 'the history');
        same(['busy', 2], [$found['status'], $found['sequence']], 'the latest update');
    },
    'a socket from the pool' => static function (Wire $wire): void {
        // checkConnectionHealth of the user's pool sends a heartbeat and leaves its answer in the stream.
        $wire->write(Wire::frame(VERSION_1_0, HEARTBEAT));
        $wire->write(Wire::frame(VERSION_1_0, SYNC, json_encode(update('php_pool', 'online'))));
        $kinds = [];
        for ($frame = 0; $frame < 2; $frame++) {
            [$version, $kinds[], $payload] = $wire->read();
            same(VERSION_1_0, $version, 'the version of what a pooled socket reads');
        }
        sort($kinds);
        same([SYNC, HEARTBEAT], $kinds, 'what a pooled socket reads');
    },
    'errors' => static function (Wire $wire): void {
        $error = sendAndReceive($wire, update('php_error', 'asleep'), 'params that do not fit')['error'];
        same([-32602, 'status'], [$error['code'], $error['data']['field']], 'params that do not fit');
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
        // json_encode escapes slashes and everything beyond ASCII; what comes back must mean the same.
        $device = "Gerät/№ 7 \u{1F600}";
        same($device, sendAndReceive($wire, update($device, 'online'), 'a name')['result']['deviceId'], 'a name');
        $params = ['text' => str_repeat("ü\n\"\\", 100_000), 'empty' => new stdClass(), 'list' => [], 'float' => 0.1];
        $echoed = sendAndReceive($wire, ['method' => 'system.echo', 'params' => $params], 'a long echo')['result'];
        same($params['text'], $echoed['text'], 'a text of 500,000 bytes');
        same([[], [], 0.1], [$echoed['empty'], $echoed['list'], $echoed['float']], 'small values');
        // An array without keys is `[]` in PHP, and means "no params" to a method that needs none.
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
        [$report, $reportId] = asyncFrame('device.report', ['deviceId' => 'php_async', 'withinMs' => PATIENCE * 1000]);
        $wire->write($report);
        // The report waits for the next update; everything else goes past it, sync and async alike.
        same('pong', sendAndReceive($wire, ['method' => 'system.ping'], 'a ping past a report')['result'], 'a ping past a report');
        // An async method begins in its own time, perhaps after an update that was sent after it: so updates go on
        // until the report has been told of one.
        for ($told = []; !isset($told[$reportId]);) {
            [$frame, $updateId] = asyncFrame('device.status.update', ['deviceId' => 'php_async', 'status' => 'busy']);
            $wire->write($frame);
            while (!isset($told[$updateId])) {
                [$id, $document] = asyncReply($wire, 'a report and its update');
                same(true, $id === $reportId || $id === $updateId, 'whose reply it is');
                same(false, isset($told[$id]), 'one reply each');
                $told[$id] = true;
                same('busy', $document['result']['status'] ?? null, 'the report is told of the update');
            }
        }
    },
    'many async requests at once' => static function (Wire $wire): void {
        $frames = '';
        $waiting = [];
        for ($number = 0; $number < AT_ONCE; $number++) {
            [$frame, $id] = asyncFrame('system.echo', ['number' => $number]);
            $frames .= $frame;
            $waiting[$id] = $number;
        }
        $wire->write($frames);
        for ($reply = 0; $reply < AT_ONCE; $reply++) {
            [$id, $document] = asyncReply($wire, 'one of many');
            same(true, isset($waiting[$id]), "one of many: an id that is waited for ($id)");
            same($waiting[$id], $document['result']['number'] ?? null, 'one of many: its own result');
            unset($waiting[$id]);
        }
        same([], $waiting, 'nobody waits any more');
    },
    'the end' => static function (Wire $wire): void {
        $wire->write(Wire::frame(VERSION_1_0, SYNC, json_encode(update('php_end', 'offline'))));
        $wire->endWriting();
        same('offline', syncReply($wire, 'after a half-close')['result']['status'], 'after a half-close');
        $wire->expectEnd();
    },
];

if (!function_exists('socket_create')) {
    fwrite(STDERR, "witness: PHP has no sockets extension: install php-sockets, or a php-cli that has it built in\n");
    exit(2);
}
if ($argc !== 2) {
    fwrite(STDERR, "witness: usage: php witness.php SOCKET\n");
    exit(2);
}
$scene = 'connecting';
try {
    // One connection through all scenes, as a pool would use it: what one leaves behind, the next would trip over.
    $wire = new Wire($argv[1]);
    foreach ($scenes as $scene => $play) {
        $play($wire);
        echo "witness: $scene: held\n";
    }
} catch (Fault | JsonException $fault) {
    fwrite(STDERR, "witness: FAULT: $scene: {$fault->getMessage()}\n");
    exit(1);
}
echo "witness: all held, $checked checks\n";
