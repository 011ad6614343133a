<?php

/**
 * A request under php-fpm: makes calls over persistent sockets, and may be terminated at a given
 * byte.
 */

declare(strict_types=1);

require __DIR__ . '/../../../autoload.php';
require __DIR__ . '/TerminatingConnector.php';
require __DIR__ . '/TerminatingTransport.php';
require __DIR__ . '/UncheckedConnector.php';

use Jackfield\Client;
use Jackfield\Exception\JackfieldException;
use Jackfield\Options;
use Jackfield\Tests\Fpm\TerminatingConnector;
use Jackfield\Tests\Fpm\UncheckedConnector;
use Jackfield\Transport\PersistentConnector;

header('Content-Type: application/json');

$address = 'unix://' . $_GET['socket'];
$connector = isset($_GET['unchecked']) ? new UncheckedConnector($address) : new PersistentConnector($address, 20);
$at = (int) ($_GET['at'] ?? -1);
if ($at >= 0) {
    $connector = new TerminatingConnector($connector, $at, $_GET['way'], $_GET['pid_file']);
}
$client = Client::over($connector, new Options(timeout: 9.0, hello: !isset($_GET['no_hello'])));

$wrong = [];
$failed = [];
$count = (int) $_GET['calls'];
for ($i = 0; $i < $count; $i++) {
    $token = bin2hex(random_bytes(8));
    try {
        $result = ($_GET['mode'] ?? 'sync') === 'async'
            ? $client->callAsync('system.echo', ['token' => $token])->await()
            : $client->call('system.echo', ['token' => $token]);
        if ($result !== ['token' => $token]) {
            $wrong[] = $result;
        }
    } catch (JackfieldException $failure) {
        $failed[] = get_class($failure) . ': ' . $failure->getMessage();
    }
}

echo json_encode(['calls' => $count, 'wrong' => $wrong, 'failed' => $failed, 'pid' => getmypid()]);
