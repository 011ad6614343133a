<?php

/**
 * Loads the package, its tests, and PSR-3 from Debian's php-psr-log, without Composer.
 */

declare(strict_types=1);

require __DIR__ . '/../autoload.php';

spl_autoload_register(static function (string $class): void {
    $file = __DIR__ . '/' . strtr(substr($class, strlen('Jackfield\\Tests\\')), '\\', '/') . '.php';
    if (str_starts_with($class, 'Jackfield\\Tests\\') && is_file($file)) {
        require $file;
    }
}, true, true);

if (!interface_exists(\Psr\Log\LoggerInterface::class)) {
    $psr = '/usr/share/php/Psr/Log/autoload.php';
    if (is_file($psr)) {
        require $psr;
    }
}
