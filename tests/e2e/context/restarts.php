<?php

// A client that appends numbers to a journal until a file exists. No call is idempotent.
// Arguments: the root of the project, the socket, the topic, `sync`, `async` or `persistent`, and
// the file.

declare(strict_types=1);

[, $root, $socket, $topic, $mode, $end] = $argv;
require $root . '/clients/php/autoload.php';

$options = new Jackfield\Options(timeout: 30.0, persistent: $mode === 'persistent');
$client = Jackfield\Client::connect("unix://$socket", $options);
$sent = 0;
$answered = 0;
$errors = [];

while (!file_exists($end)) {
    $futures = [];
    for ($call = 0; $call < ($mode === 'async' ? 8 : 1); $call++) {
        $params = ['topic' => $topic, 'entry' => $sent++];
        try {
            if ($mode === 'async') {
                $futures[] = $client->callAsync('journal.append', $params);
            } else {
                $client->call('journal.append', $params);
                $answered++;
            }
        } catch (Throwable $failure) {
            $errors[] = $params['entry'] . ': ' . $failure::class . ': ' . $failure->getMessage();
        }
    }
    foreach ($futures as $future) {
        try {
            $future->await();
            $answered++;
        } catch (Throwable $failure) {
            $errors[] = $failure::class . ': ' . $failure->getMessage();
        }
    }
}

echo json_encode(['sent' => $sent, 'answered' => $answered, 'errors' => $errors]);
