<?php

/**
 * The script that php-fpm runs for the comparison: receives params and returns the status of a
 * device.
 *
 * It keeps no state, as usual in PHP.
 */

declare(strict_types=1);

$params = json_decode(file_get_contents('php://input'), true, 16, JSON_THROW_ON_ERROR);
header('Content-Type: application/json');
echo json_encode(['deviceId' => $params['deviceId'], 'status' => $params['status'], 'sequence' => 1]);
