<?php

/**
 * Autoloads the classes of this package for programs without Composer.
 */

declare(strict_types=1);

spl_autoload_register(static function (string $class): void {
    if (str_starts_with($class, 'Jackfield\\')) {
        $name = substr($class, 10);
        $file = __DIR__ . '/src/' . strtr($name, '\\', '/') . '.php';
        if (is_file($file)) {
            require $file;
        }
    }
});
