<?php

// Sends 1 MiB to a method that returns it, again and again, as bytes or as base64 in JSON, and
// prints the processor time of this process in microseconds. Arguments: the root of the project,
// the socket, `bytes` or `base64`, and the number of calls.

declare(strict_types=1);

[, $root, $socket, $how, $calls] = $argv;
require $root . '/clients/php/autoload.php';

$client = Jackfield\Client::connect("unix://$socket", new Jackfield\Options(timeout: 30.0));
$image = '';
for ($at = 0; $at < 1 << 20; $at += 32) {
    $image .= hash('sha256', (string) $at, true);
}

$spent = 0;
for ($call = -2; $call < (int) $calls; $call++) {
    $usage = getrusage();
    $returned = $how === 'bytes'
        ? $client->callBytes('bytes.echo_blocking', $image)
        : base64_decode($client->call('fixture.echo_blocking', base64_encode($image)));
    $after = getrusage();
    if ($returned !== $image) {
        throw new Exception('the image came back changed');
    }

    // The first calls are not representative: they connect and read code.
    if ($call >= 0) {
        foreach (['ru_utime', 'ru_stime'] as $time) {
            $spent += ($after["$time.tv_sec"] - $usage["$time.tv_sec"]) * 1_000_000
                + $after["$time.tv_usec"] - $usage["$time.tv_usec"];
        }
    }
}
echo $spent;
