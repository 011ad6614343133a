<?php

/**
 * A request under php-fpm that makes one call and prints its outcome and how long it took.
 */

declare(strict_types=1);

require __DIR__ . '/../../../autoload.php';

use Jackfield\Client;
use Jackfield\Exception\JackfieldException;
use Jackfield\Options;

$started = hrtime(true);
try {
    $client = Client::connect("unix://{$_GET['socket']}", new Options(timeout: 20.0, connectTimeout: 0.5));
    $outcome = $client->call('system.echo', ['x']);
} catch (JackfieldException $failure) {
    $outcome = get_class($failure);
}

header('Content-Type: application/json');
echo json_encode(['outcome' => $outcome, 'ns' => hrtime(true) - $started]);
