<?php

// Call sites of a class that packs frames itself. The test replaces the `use` line and the path.

use Develop\Reader\UnixSocketReader;

final class DeviceReader extends UnixSocketReader
{
    protected $maxPoolSize = 5;

    public function release($socket)
    {
        parent::release($socket);
    }

    public function waitFor($socket)
    {
        $this->asyncReadLoop($socket);
    }
}

$reader = new DeviceReader('/run/ipc.sock');

// Sync: more often than the pool has connections.
for ($i = 1; $i <= 50; $i++) {
    $reply = $reader->sendAndReceive([
        'method' => 'device.status.update',
        'params' => ['deviceId' => 'dev_123', 'status' => 'online'],
        'timestamp' => 1717324800,
    ]);
}
echo "update {$reply['result']['sequence']} of {$reply['result']['deviceId']}\n";

$reply = $reader->sendAndReceive(['id' => 'r-7', 'method' => 'no.such.method', 'params' => []]);
echo "{$reply['id']}: {$reply['error']['code']} {$reply['error']['message']}\n";

$large = $reader->sendAndReceive(['method' => 'system.echo', 'params' => str_repeat('x', 1_000_000)]);
echo strlen($large['result']), " bytes\n";

try {
    $reader->sendAndReceive(['params' => []]);
} catch (\Exception $e) {
    echo $e->getMessage(), "\n";
}

// Async: the reply of the first call comes after that of the second one.
$ids = [];
$callback = function ($response) use (&$ids) {
    $name = array_search($response['id'], $ids, true);
    echo $name, ': ', json_encode($response['result']['status'] ?? $response['error']['code'] ?? $response['result']), "\n";
};
$ids['report'] = $reader->sendAsync(
    ['method' => 'device.report', 'params' => ['deviceId' => 'silent', 'withinMs' => 200]],
    $callback
);
$ids['update'] = $reader->sendAsync(
    ['method' => 'device.status.update', 'params' => ['deviceId' => 'dev_123', 'status' => 'offline']],
    $callback
);
$reader->waitFor(null);

// A connection of its own.
$socket = $reader->getConnection();
$heartbeat = pack('n', 0x0100) . pack('C', 0x02) . pack('N', 0);
socket_write($socket, $heartbeat, strlen($heartbeat));
echo bin2hex(socket_read($socket, 7)), "\n";
$reader->release($socket);
echo $reader->getConnection() === $socket ? "reused\n" : "not reused\n";

// The script ends with a call in flight.
$ids['last'] = $reader->sendAsync(['method' => 'system.ping'], $callback);
echo "end\n";
